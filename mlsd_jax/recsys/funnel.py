"""The funnel: users and a snapshot -> candidates of all sources -> blend -> ranker.

A request, the weeks that the ranker learns from and the week held out go through it alike: `gather`, then `score`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.purchases.weeks import Targets
from mlsd_jax.recsys.stages import blend, features, guard, user_slices
from mlsd_jax.recsys.stages.blend import Blend
from mlsd_jax.recsys.stages.candidates import SOURCES, Candidates, Source, collect
from mlsd_jax.recsys.stages.fill_up import fill_up
from mlsd_jax.recsys.stages.filters import Filter
from mlsd_jax.recsys.stages.guard import Guard
from mlsd_jax.recsys.stages.scorer import RankerInputs
from mlsd_jax.recsys.stages.tower_source import Retriever
from mlsd_jax.recsys.stages.trees import Ranker
from mlsd_jax.schema import Positive, at_least

NEWCOMERS = ('blend', 'ranker')


@dataclasses.dataclass(frozen=True)
class FunnelConfig:
  """How many candidates pass each stage.

  Attributes:
    weeks: on which the ranker is trained, those before the one held out; fewer where little history would be left.
    users: of each week, drawn at random where more of them bought; 0 for all. (Of the ranker's weeks no more than its
      updates see, see preparation.prepare.)
    per_source: best of each source that join the union; 0 leaves a source out.
    keep: of the union that the blend passes to the ranker.
    group: candidates of a user and week that the ranker is trained on.
    skip: weeks at the end of the data that are left out altogether, so that an earlier one is held out.
    newcomers: whose order users without any purchase get: 'ranker', or 'blend', unless a source found more for such
      users of the ranker's weeks.
  """

  per_source: Mapping[str, int]
  weeks: Positive = 12
  keep: Positive = 300
  group: Annotated[int, at_least(2)] = 96  # a purchase and another
  skip: int = 0
  users: int = 0
  newcomers: str = 'blend'

  def __post_init__(self):
    if self.newcomers not in NEWCOMERS:
      raise UserError(f'config.funnel.newcomers={self.newcomers!r} is not one of {", ".join(NEWCOMERS)}')
    if not any(self.per_source.values()):
      raise UserError('config.funnel.per_source: one source at least must name candidates')


@dataclasses.dataclass(frozen=True)
class Funnel:
  """The trained stages of a shop's recommender.

  Attributes:
    per_source: see FunnelConfig.
    keep: see FunnelConfig.
    retriever: the towers, with factors and index as of a cut.
    scorer: the ranker, its probabilities put right (stages/calibration.py).
    guard: how much the ranker, the blend and each source count for each segment of users.
  """

  per_source: Mapping[str, int]
  keep: int
  retriever: Retriever
  blend: Blend
  scorer: Ranker
  guard: Guard = dataclasses.field(default_factory=lambda: guard.start('blend'))


@dataclasses.dataclass(frozen=True)
class Union:
  """Users' candidates from all sources.

  Attributes:
    snapshot: what is known at the cut.
    candidates: N of them.
    signals: [N, F], what the blend sees of them.
  """

  snapshot: Snapshot
  candidates: Candidates
  signals: np.ndarray

  def keep(self, mask: np.ndarray) -> 'Union':
    """The candidates of a mask [N]."""
    return Union(self.snapshot, self.candidates.keep(mask), self.signals[mask])


@dataclasses.dataclass(frozen=True)
class Week:
  """The union of the users of a week, and what they bought in it."""

  targets: Targets
  union: Union


@dataclasses.dataclass(frozen=True)
class Scored:
  """What the blend kept of a union, and its logits [N, heads]."""

  candidates: Candidates
  inputs: RankerInputs
  logits: np.ndarray


def gather(
  snapshot: Snapshot,
  histories: Histories,
  users: np.ndarray,
  per_source: Mapping[str, int],
  retriever: Retriever | None,
  *,
  only: Filter | None = None,
  least: int = 0,
) -> Union:
  """The union of all sources for `users` at the snapshot's cut; without the towers where there are none.

  Args:
    only: of what passes this.
    least: candidates of each user; fewer are filled up from what sells and passes.
  """
  sources: dict[str, Source] = {name: SOURCES[name] for name in per_source if name in SOURCES}
  models = retriever.named(per_source) if retriever else {}
  vectors = {name: model.users(histories, users, snapshot.cut) for name, model in models.items()}

  def gather_slice(rows: slice) -> tuple[Candidates, np.ndarray]:
    every = sources | {name: model.source(vectors[name][rows]) for name, model in models.items()}
    candidates = fill_up(snapshot, collect(snapshot, users[rows], every, per_source, only), least, only)
    for name, model in models.items():
      candidates = model.scored(candidates, vectors[name][rows])
    return candidates, blend.compute_signals(snapshot, candidates)

  parts, signals = zip(*user_slices.over_users(gather_slice, len(users)), strict=True)
  return Union(snapshot, Candidates.join(parts), np.concatenate(signals))


def select(union: Union, by: Blend, keep: int) -> tuple[Candidates, np.ndarray]:
  """The best `keep` of each user's union, with the features [N, F] of the ranker."""
  start = union.candidates.start

  def select_slice(rows: slice) -> tuple[Candidates, np.ndarray]:
    signals = union.signals[start[rows.start] : start[rows.stop]]
    best = union.candidates.slice_users(rows).best(by.score(signals), keep)
    return best, features.compute(union.snapshot, best)

  best, dense = zip(*user_slices.over_users(select_slice, len(union.candidates.users)), strict=True)
  return Candidates.join(best), np.concatenate(dense)


def score(trained: Funnel, union: Union) -> Scored:
  """A union through the blend, the ranker and the guard.

  What a user without a history buys depends on nothing but the items and the week. A ranker of many parameters takes
  what sold in the weeks it learnt from by heart; the guard's few do not.
  """
  best, dense = select(union, trained.blend, trained.keep)
  inputs = trained.scorer.inputs(union.snapshot, best, dense)
  logits = trained.scorer(inputs, trained.keep)
  segments = guard.segment(union.snapshot, best.users)
  if trained.guard.changes(segments):
    logits = trained.guard.order(logits, score_blend(trained.blend, union.snapshot, best), best, segments)
  return Scored(best, inputs, logits)


def score_blend(by: Blend, snapshot: Snapshot, candidates: Candidates) -> np.ndarray:
  """[N] what a blend says of candidates."""
  return by.score(blend.compute_signals(snapshot, candidates))
