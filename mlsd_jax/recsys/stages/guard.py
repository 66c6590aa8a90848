"""What keeps the ranker from being worse than a single source: by segment of users, how much each of them counts.

A conditional logit (McFadden 1974): which of a user's candidates are bought is a softmax of a weighted sum of the
ranker's log-odds, the blend's, and the rank in each source. It is fitted on weeks that the ranker has not learnt from,
and shrunk towards what it is without: the ranker's order, for users without a history the blend's.

Names: N candidates of U users, S sources.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.optimize

from mlsd_jax.ranking_measures import average_precision
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.stages.candidates import Candidates, sort_best_first

SEGMENTS = ('cold', 'light', 'heavy')
_LIGHT = 10  # days on which a user bought, at most
_FIRST = 12  # items of a list by which sources are compared
_BEHIND = 1e-4  # of an order that only decides where another says nothing
_RIDGE = 30.0  # users whose purchases weigh as much as the belief that nothing need be changed


@dataclasses.dataclass(frozen=True)
class Guard:
  """Segment -> weight by name: 'ranker', 'blend' and the sources."""

  weights: Mapping[str, Mapping[str, float]]

  def changes(self, segments: np.ndarray) -> bool:
    """Whether any of these users [U] gets another order than the ranker's."""
    return any(set(self.weights[name]) - {'ranker'} for name in np.unique(segments))

  def order(self, logits: np.ndarray, by: np.ndarray, candidates: Candidates, segments: np.ndarray) -> np.ndarray:
    """Logits [N, heads] of which those of each user are dealt out anew, the greatest to the best; what is predicted of
    all candidates of a user together stays as it was.

    Args:
      by: [N] of the blend.
      segments: [U], see `segment`.
    """
    score = np.zeros(len(by))
    values = _columns(logits[:, 0], by, candidates)
    of_row = segments[candidates.row]
    for name, weights in self.weights.items():
      mine = of_row == name
      score[mine] = _weigh({column: value[mine] for column, value in values.items()}, weights)
    return deal_out(logits, candidates.row, score)


def deal_out(logits: np.ndarray, row: np.ndarray, score: np.ndarray) -> np.ndarray:
  """Logits [N, heads] in the order of `score` [N]: each user's greatest go to its best."""
  out = logits.copy()
  out[sort_best_first(row, score)] = logits[sort_best_first(row, logits[:, 0])]
  return out


def segment(snapshot: Snapshot, users: np.ndarray) -> np.ndarray:
  """[U] of SEGMENTS: without a purchase, bought on few days, on more (as weeks.segment_users says)."""
  days = snapshot.column('user', 'days')[users]
  return np.select([snapshot.column('user', 'n')[users] == 0, days <= _LIGHT], SEGMENTS[:2], SEGMENTS[2])


def start(newcomers: str) -> Guard:
  """The guard before anything is fitted.

  Args:
    newcomers: 'blend' or 'ranker', whose order users without a purchase get.
  """
  return Guard({name: {newcomers if name == 'cold' else 'ranker': 1.0} for name in SEGMENTS})


@dataclasses.dataclass(frozen=True)
class GuardSample:
  """A week that the ranker has not learnt from.

  Attributes:
    logits: [N] of the ranker.
    by: [N] of the blend.
    segments: [U].
    bought: [N] bool.
  """

  candidates: Candidates
  logits: np.ndarray
  by: np.ndarray
  segments: np.ndarray
  bought: np.ndarray


def fit(samples: Sequence[GuardSample], before: Guard, ridge: float = _RIDGE) -> Guard:
  """The weights of each segment that make what was bought most likely, each user counting as one, shrunk to `before`.

  Of a segment none of whose users bought a candidate, those before.
  """
  return Guard({name: _fit_segment(samples, name, weights, ridge) for name, weights in before.weights.items()})


def choose(samples: Sequence[GuardSample], before: Guard, name: str) -> Guard:
  """The guard before, but a segment gets the order of that source which found most for its users (MAP@12 of the
  candidates bought, every user as one), if that is more than by the order before, and by more than the difference's
  standard error: of few users one would be chosen by chance. What a source does not name comes behind, in the order
  before.
  """
  orders: dict[str, Mapping[str, float]] = {'': before.weights[name]}
  for source in dict.fromkeys(source for sample in samples for source in sample.candidates.sources):
    orders[source] = {**{key: _BEHIND * value for key, value in before.weights[name].items()}, source: 1.0}
  found: dict[str, list[np.ndarray]] = {key: [] for key in orders}
  for sample in samples:
    values = _columns(sample.logits, sample.by, sample.candidates)
    row, start = sample.candidates.row, sample.candidates.start
    relevant = np.bincount(row, sample.bought, len(sample.segments))
    mine = (sample.segments == name) & (relevant > 0)
    for key, weights in orders.items():
      order = sort_best_first(row, _weigh(values, weights))
      place = np.arange(len(order)) - start[row[order]]
      hits = np.zeros((len(mine), _FIRST), bool)
      hits[row[order][place < _FIRST], place[place < _FIRST]] = sample.bought[order][place < _FIRST]
      found[key].append(average_precision(hits[mine], relevant[mine], _FIRST, at_most_k=True))
  of_users = {key: np.concatenate(found[key]) if samples else np.zeros(0) for key in orders}
  best = max(of_users, key=lambda key: of_users[key].sum())  # the first of equal ones
  gain = of_users[best] - of_users['']
  if len(gain) < 2 or gain.mean() <= gain.std(ddof=1) / np.sqrt(len(gain)):
    return before
  return Guard({**before.weights, name: orders[best]})


def _fit_segment(
  samples: Sequence[GuardSample], name: str, before: Mapping[str, float], ridge: float
) -> Mapping[str, float]:
  parts, rows, wanted, users = [], [], [], 0
  columns: list[str] = []
  for sample in samples:
    row = sample.candidates.row
    number = len(sample.segments)
    bought = np.bincount(row, sample.bought, number)
    mine = ((sample.segments == name) & (bought > 0))[row]
    values = _columns(sample.logits, sample.by, sample.candidates)
    columns = list(values)
    parts.append(np.stack([value[mine] for value in values.values()], 1))
    rows.append(np.unique(row[mine], return_inverse=True)[1] + users)
    wanted.append(np.where(sample.bought, 1 / np.maximum(bought, 1)[row], 0.0)[mine])
    users += len(np.unique(row[mine]))
  if not users:
    return before
  x, row, share = (np.concatenate(each) for each in (parts, rows, wanted))
  prior = np.array([before.get(column, 0.0) for column in columns])

  def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
    score = x @ theta
    top = np.full(users, -np.inf)
    np.maximum.at(top, row, score)
    rising = np.exp(score - top[row])
    total = np.bincount(row, rising, users)
    chance = rising / total[row]
    away = theta - prior
    value = -(share * (score - top[row] - np.log(total)[row])).sum() + ridge / 2 * (away @ away)
    return value, x.T @ (chance - share) + ridge * away

  best = scipy.optimize.minimize(loss, prior, jac=True, method='L-BFGS-B').x
  return dict(zip(columns, best.tolist(), strict=True))


def _columns(logits: np.ndarray, by: np.ndarray, candidates: Candidates) -> dict[str, np.ndarray]:
  """[N] of the ranker, the blend and each source, whose first has 1, the next less, what it did not name 0."""
  rank = np.where(candidates.rank > 0, 1 / np.log2(1.0 + np.maximum(candidates.rank, 1)), 0.0)
  of_sources = dict(zip(candidates.sources, rank.T, strict=True))
  return {'ranker': logits.astype(np.float64), 'blend': by.astype(np.float64)} | of_sources


def _weigh(columns: Mapping[str, np.ndarray], weights: Mapping[str, float]) -> np.ndarray:
  """The weighted sum of columns [N]."""
  return np.sum([weights.get(name, 0.0) * column for name, column in columns.items()], 0)
