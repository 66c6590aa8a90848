"""Examples for the two towers: a user at a weekly cut with one item of those bought in the week after it.

The history ends at the cut, as it does when the towers are asked for candidates.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl

from mlsd_jax.data.batches import Batch, BatchList, Stream, padded
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.purchases.weeks import WEEK, Targets
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.tower_data import TowerData, code_items, code_users

_SPAN = 4  # weeks
_POSITIVES = 64  # purchases of a user and week that are evaluated


@dataclasses.dataclass(frozen=True)
class Span:
  """Examples of some weeks one after the other.

  Attributes:
    user, cut, item: [N] of each example; item is a row of the item table.
    share: [num_items + 1] float32, each row's share of the examples.
    factors: of what was bought before the first of the weeks.
  """

  user: np.ndarray
  cut: np.ndarray
  item: np.ndarray
  share: np.ndarray
  factors: Factors

  def known(self, items: np.ndarray) -> np.ndarray:
    """[N, K + 2] factors, popularity and share of rows of the item table. (In one array: of several, each device would
    wait for the others several times.)"""
    return np.concatenate([self.factors.table[items], self.factors.popularity[items, None], self.share[items, None]], 1)


def make_examples(
  dataset: Dataset, before: int, weeks: int, factor_dim: int = 0, *, span: int = _SPAN, least: int = 0
) -> tuple[TowerData, list[Span]]:
  """Examples of the `weeks` weeks that end at `before`, a pair bought in a week once a week, the latest span first.

  Factors and popularity are of what came before a span, as those of a request are of what came before it: a factor that
  has seen a purchase predicts it too well. Were they of what came before all of the weeks, the towers would learn what
  has changed since then, of which a request knows. Of a short history no more than half becomes examples.

  Args:
    span: weeks of one, at least; a rest belongs to the earliest.
    least: examples of a span, for which more weeks are put together where little is bought.
  """
  begins = int(dataset.events['time'][0])
  weeks = min(weeks, max((before - begins) // (2 * WEEK), 1))
  week = (before - 1 - pl.col('time')) // WEEK + 1
  examples = (
    dataset.between(before - weeks * WEEK, before)
    .select('user', pl.col('item') + 1, (before - week * WEEK).alias('cut'))
    .unique(maintain_order=True)
  )
  histories = Histories.from_events(dataset.before(before), dataset.num_users)
  user, cut, item = (examples[name].to_numpy() for name in ('user', 'cut', 'item'))
  counts = np.bincount((before - cut) // WEEK - 1, minlength=weeks)
  spans = []
  for first, last in _weeks_of_spans(counts, span, least):
    mine = (cut < before - first * WEEK) & (cut >= before - last * WEEK)
    share = np.bincount(item[mine], minlength=dataset.num_items + 1) / max(int(mine.sum()), 1)
    factors = Factors.at(histories, before - last * WEEK, dataset.num_items, factor_dim)
    spans.append(Span(user[mine], cut[mine], item[mine], share.astype(np.float32), factors))
  return TowerData(histories, code_items(dataset), code_users(dataset), spans[0].factors), spans


def _weeks_of_spans(counts: np.ndarray, span: int, least: int) -> list[tuple[int, int]]:
  """First week and the week after the last of each span, given the examples of each week, the latest first."""
  ends = [0]
  for week in range(1, len(counts) + 1):
    if week - ends[-1] >= span and counts[ends[-1] : week].sum() >= least:
      ends.append(week)
  # What is left over at the end is no span of its own.
  ends = [*ends[: max(len(ends) - 1, 1)], len(counts)]
  return list(itertools.pairwise(ends))


class TowerBatches(Stream):
  """Shuffled examples with one uniform negative each, those of a batch of one span (TrainData)."""

  def __init__(self, data: TowerData, spans: Sequence[Span], config: TwoTowerConfig, batch_size: int, *, seed: int = 0):
    super().__init__(self._batch)
    self.data, self.spans, self.config, self.batch_size, self.seed = data, spans, config, batch_size, seed
    self._factors = [self._of_users(span) for span in spans]

  def _of_users(self, span: Span) -> tuple[np.ndarray, np.ndarray]:
    """Factors of each user and week, and which of them each example has: many items of a week share theirs."""
    visits, which = np.unique(np.stack([span.cut, span.user.astype(np.int64)]), axis=1, return_inverse=True)
    parts = np.array_split(visits, max(visits.shape[1] // 1024, 1), axis=1)
    return np.concatenate([span.factors.of_users(self.data.histories, part[1], part[0]) for part in parts]), which

  def _batch(self, number: int, rows: slice | np.ndarray) -> Batch:
    epoch, place = divmod(number, len(self._order(0)))
    which, chosen = self._order(epoch)[place]
    span, (factors, visit) = self.spans[which], self._factors[which]
    rng = np.random.default_rng([self.seed, 1, number])
    negative = rng.integers(1, len(self.data.codes), size=self.batch_size, dtype=np.int32)[rows]
    chosen = chosen[rows]
    users, items = span.user[chosen], span.item[chosen]
    return self.data.histories.at(users, span.cut[chosen], self.config.history_length) | {
      'factors': factors[visit[chosen]],
      'user_codes': self.data.user_codes[users],
      'user': users,
      'item': items,
      'negative': negative,
      'item_known': span.known(items),
      'negative_known': span.known(negative),
    }

  @functools.lru_cache(maxsize=2)  # noqa: B019
  def _order(self, epoch: int) -> list[tuple[int, np.ndarray]]:
    """Span and examples of each batch; a last one that would be less than half full is left for another epoch."""
    rng = np.random.default_rng([self.seed, 0, epoch])
    parts: list[tuple[int, np.ndarray]] = []
    for which, span in enumerate(self.spans):
      count = max(round(len(span.item) / self.batch_size), 1)
      order = np.resize(rng.permutation(len(span.item)), count * self.batch_size)
      parts += [(which, chosen) for chosen in order.reshape(count, self.batch_size)]
    return [parts[place] for place in rng.permutation(len(parts))]


def held_out_users(
  data: TowerData, config: TwoTowerConfig, targets: Targets, histories: Histories, batch_size: int
) -> BatchList:
  """One batch of users at a cut with what they bought in the week after it; users beyond it are left out."""
  users = np.random.default_rng(0).permutation(targets.users)[:batch_size]
  place = np.searchsorted(targets.user, users)[:, None] + np.arange(_POSITIVES)
  bought = (place < len(targets.user)) & (targets.user[np.minimum(place, len(targets.user) - 1)] == users[:, None])
  positives = np.where(bought, targets.item[np.minimum(place, len(targets.user) - 1)] + 1, -1).astype(np.int32)
  known = data.users(histories, users, np.full(len(users), targets.cut), config.history_length)
  return padded(known | {'positives': positives}, batch_size)
