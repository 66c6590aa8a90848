"""How good rankings are: MAP, recall, nDCG, coverage, novelty, with intervals and paired tests.

A ranking is items [U, K] int32, best first, filled up with -1. Its relevance is hits [U, K] bool beside the number of
relevant items [U]; every metric gives a value a user, so that intervals and paired tests are over users.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

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


def average_precision(hits: np.ndarray, relevant: np.ndarray, k: int = 12) -> np.ndarray:
  """AP@k [U] as Kaggle's H&M task has it: sum of precision at each hit, over min(k, relevant)."""
  top = hits[:, :k]
  precision = np.cumsum(top, 1) / np.arange(1, top.shape[1] + 1)
  return (precision * top).sum(1) / np.maximum(np.minimum(k, relevant), 1)


def recall(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
  """Share [U] of the relevant items that stand among the first k."""
  return hits[:, :k].sum(1) / np.maximum(relevant, 1)


def ndcg(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
  """nDCG@k [U] with binary gains and discount 1 / log2(rank + 1) (Jarvelin & Kekalainen 2002)."""
  discount = 1 / np.log2(np.arange(2, k + 2))
  ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(relevant, k)]
  return (hits[:, :k] * discount[: hits[:, :k].shape[1]]).sum(1) / np.where(ideal > 0, ideal, 1.0)


def coverage(ranking: np.ndarray, num_items: int, k: int = 12) -> float:
  """Share of the catalogue that stands in anyone's first k."""
  shown = np.unique(ranking[:, :k])
  return float((shown >= 0).sum() / num_items)


def novelty(ranking: np.ndarray, counts: np.ndarray, k: int = 12) -> float:
  """Mean self-information of the first k in bits, -log2 of an item's share of all purchases (Zhou et al. 2010)."""
  shown = ranking[:, :k][ranking[:, :k] >= 0]
  share = np.maximum(counts, 1) / max(counts.sum(), 1)
  return float(-np.log2(share[shown]).mean()) if len(shown) else 0.0


METRICS: Mapping[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
  'map@12': average_precision,
  'ndcg@12': lambda hits, relevant: ndcg(hits, relevant, 12),
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
