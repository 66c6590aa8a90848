"""How good rankings are: MAP, recall, nDCG (ranking_measures.py), coverage, novelty, with paired tests.

A ranking is items [U, K] int32, best first, filled up with -1. Its relevance is hits [U, K] bool beside the number of
relevant items [U]; every metric gives a value a user, so that intervals and paired tests are over users.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from mlsd_jax.ranking_measures import average_precision, ndcg, recall
from mlsd_jax.recsys.purchases.weeks import Targets
from mlsd_jax.resampling import Estimate, bootstrap, sign_flip_p


def relevance(
  users: np.ndarray, ranking: np.ndarray, targets: Targets, num_items: int
) -> tuple[np.ndarray, np.ndarray]:
  """Which ranked items were bought.

  Args:
    users: [U] of each row of the ranking.

  Returns:
    (hits [U, K] bool, relevant [U]: how many distinct items each user bought)
  """
  keys = targets.user.astype(np.int64) * num_items + targets.item  # sorted, as targets are
  ranked_keys = users.astype(np.int64)[:, None] * num_items + ranking
  place = np.minimum(np.searchsorted(keys, ranked_keys), max(len(keys) - 1, 0))
  hits = (keys[place] == ranked_keys) & (ranking >= 0) if len(keys) else np.zeros(ranking.shape, bool)
  relevant = np.searchsorted(targets.user, users, 'right') - np.searchsorted(targets.user, users, 'left')
  return hits, relevant


def coverage(ranking: np.ndarray, num_items: int, k: int = 12) -> float:
  """Share of the catalogue that stands in anyone's first k."""
  shown = np.unique(ranking[:, :k])
  return float((shown >= 0).sum() / num_items)


def novelty(ranking: np.ndarray, counts: np.ndarray, k: int = 12) -> float:
  """Mean self-information of the first k in bits, -log2 of an item's share of all purchases (Zhou et al. 2010)."""
  shown = ranking[:, :k][ranking[:, :k] >= 0]
  share = np.maximum(counts, 1) / max(counts.sum(), 1)
  return float(-np.log2(share[shown]).mean()) if len(shown) else 0.0


def diversity(ranking: np.ndarray, categories: np.ndarray, k: int = 12) -> float:
  """Share of the pairs of a list's first k that are of two categories, mean over lists (Ziegler et al. 2005).

  Args:
    categories: [I] codes. NaN where no list holds two items.
  """
  shown = ranking[:, :k]
  there = (shown[:, :, None] >= 0) & (shown[:, None] >= 0) & np.tri(shown.shape[1], k=-1, dtype=bool)
  codes = categories[np.maximum(shown, 0)]
  pairs = there.sum((1, 2))
  differ = (there & (codes[:, :, None] != codes[:, None])).sum((1, 2))
  return float((differ[pairs > 0] / pairs[pairs > 0]).mean()) if pairs.any() else float('nan')


def popularity_lift(users: np.ndarray, ranking: np.ndarray, targets: Targets, counts: np.ndarray, k: int = 12) -> float:
  """By how much more popular the first k are than what the users bought: (GAP shown - GAP bought) / GAP bought, a GAP
  being the mean over users of the mean purchases of their items (Abdollahpouri et al. 2019, arXiv:1907.13286).

  0 is as popular as what is bought, 1 twice as popular. NaN where no user bought anything that was bought before.

  Args:
    users: [U] of each row of the ranking.
    counts: [I] purchases of each item before.
  """
  shown = ranking[:, :k]
  listed = (shown >= 0).sum(1)
  of_lists = np.where(shown >= 0, counts[np.maximum(shown, 0)], 0.0).sum(1)[listed > 0] / listed[listed > 0]
  place = np.minimum(np.searchsorted(users, targets.user), max(len(users) - 1, 0))
  mine = users[place] == targets.user if len(users) else np.zeros(len(targets.user), bool)
  number = np.bincount(place[mine], minlength=len(users))
  bought = np.bincount(place[mine], counts[targets.item[mine]], minlength=len(users))[number > 0] / number[number > 0]
  usual = float(bought.mean()) if len(bought) else 0.0
  return float(of_lists.mean() / usual - 1) if usual and len(of_lists) else float('nan')


def binary_ndcg(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
  """nDCG@k [U]: every purchase gains one."""
  return ndcg(hits, (np.arange(k) < relevant[:, None]).astype(float), k)


METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
  'map@12': lambda hits, relevant: average_precision(hits, relevant, 12, at_most_k=True),
  'ndcg@12': lambda hits, relevant: binary_ndcg(hits, relevant, 12),
  'recall@12': lambda hits, relevant: recall(hits, relevant, 12),
  'recall@100': lambda hits, relevant: recall(hits, relevant, 100),
  'recall@1000': lambda hits, relevant: recall(hits, relevant, 1000),
}


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The mean difference of two systems over the same users, its interval, and the p of a sign-flip test."""

  difference: Estimate
  p: float


def compare(first: np.ndarray, second: np.ndarray, *, rounds: int = 10_000, seed: int = 0) -> Comparison:
  """`first` - `second` a user: bootstrap interval, and the p of a sign-flip test."""
  difference = first - second
  return Comparison(bootstrap(difference, seed=seed), sign_flip_p(difference, rounds=rounds, seed=seed))


def evaluate(users: np.ndarray, ranking: np.ndarray, targets: Targets, num_items: int) -> dict[str, np.ndarray]:
  """Every metric of METRICS a user."""
  hits, relevant = relevance(users, ranking, targets, num_items)
  return {name: metric(hits, relevant) for name, metric in METRICS.items()}
