"""The weeks before a cut, one after the other: towers, candidates, blend, and what a ranker learns from."""

import ctypes
import dataclasses
import gc
import math
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mlsd_jax.recsys import funnel, sequence_training, training
from mlsd_jax.recsys.funnel import FunnelConfig, Week
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.sequence_training import SequenceConfig
from mlsd_jax.recsys.stages import blend, guard, labels
from mlsd_jax.recsys.stages.blend import Blend
from mlsd_jax.recsys.stages.calibration import CalibrationSample
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.guard import Guard, GuardSample
from mlsd_jax.recsys.stages.ranker_examples import Groups, make_groups
from mlsd_jax.recsys.stages.scorer import RankerInputs, ranker_inputs
from mlsd_jax.recsys.stages.tower_data import code_users
from mlsd_jax.recsys.stages.tower_source import NAME, Retriever
from mlsd_jax.recsys.stages.trees import Ranker
from mlsd_jax.recsys.training import RankerConfig, TowerConfig

_LATEST = 4  # weeks on which probabilities are put right: one alone predicts the rate of the next less well
_LEARNT = 3  # weeks to learn from for each that is kept out of training


@dataclasses.dataclass(frozen=True)
class RecommenderConfig:
  """The settings of all stages; `sequence` is None where there is no sequence model."""

  funnel: FunnelConfig
  tower: TowerConfig
  ranker: RankerConfig
  sequence: SequenceConfig | None = None


@dataclasses.dataclass(frozen=True)
class Held:
  """What the ranker sees of a week that it does not learn from: its candidates, what the blend says of them [N], what
  was bought [N], and the segment [U] of each user."""

  candidates: Candidates
  inputs: RankerInputs
  by: np.ndarray
  bought: np.ndarray
  segments: np.ndarray


@dataclasses.dataclass(frozen=True)
class Prepared:
  """Everything but the ranker.

  Attributes:
    samples: what the ranker sees of its latest weeks, to put its probabilities right: those that it has not learnt
      from, where there are any.
    held: the weeks that it has not learnt from.
    newcomers: of every week whose blend is of an earlier one, the users without a purchase.
    week: the week held out.
    retriever: as of that week.
    blend: fitted on the last of the ranker's weeks.
    origin: of the retriever's towers: tower_checkpoint_step, and tower_damaged_checkpoints where there were any.
  """

  samples: Sequence[CalibrationSample]
  held: Sequence[Held]
  newcomers: Sequence[GuardSample]
  week: Week
  retriever: Retriever
  blend: Blend
  histories: Histories
  origin: Mapping[str, Any]


def count_held(config: RankerConfig, number: int) -> int:
  """How many of its `number` weeks a ranker does not learn from: the latest `held_weeks`, fewer where there are few."""
  return min(config.held_weeks, number // (1 + _LEARNT))


def week_at(data: Dataset, cut: int, retriever: Retriever, histories: Histories, config: FunnelConfig) -> Week:
  """The union of candidates of everyone who buys in the week from `cut` on (or of config.users of them)."""
  targets = weeks.find_targets(data, cut).sample(config.users)
  return Week(targets, funnel.gather(snapshot.take(data, cut), histories, targets.users, config.per_source, retriever))


def fit_blend(week: Week) -> Blend:
  """The blend that orders a week's union best."""
  union = week.union
  return blend.fit(union.signals, labels.label(union.candidates, week.targets, union.snapshot.num_items).bought)


def prepare(
  data: Dataset,
  cuts: Sequence[int],
  config: RecommenderConfig,
  folder: pathlib.Path,
  tell: Callable[[str], None] = print,
) -> tuple[Groups, Prepared] | None:
  """The ranker's examples and what else there is before it; None if requested to stop.

  Towers are trained up to the ranker's first week and go on every `tower.refresh` weeks, so that those asked about a
  week know none of it and are fewer than `tower.refresh` weeks old; their factors are renewed every week. The blend is
  fitted anew as often, on the week before: candidates that an old one chose are not those of the week held out.

  No more users of a week are asked about than the ranker's updates will see, so that a shop with many users needs no
  more time or memory than that.

  Args:
    cuts: of the week held out, then of the ranker's weeks, the latest first.
    folder: of the towers' runs; what is finished there is not trained again.
  """
  histories, codes_of_users = Histories.from_events(data.events, data.num_users), code_users(data)
  tower = dataclasses.replace(config.tower, depth=config.funnel.per_source.get(NAME, config.tower.depth))
  held = count_held(config.ranker, len(cuts) - 1)
  if held < config.ranker.held_weeks:
    tell(
      f'ranker.held_weeks={config.ranker.held_weeks}: of {len(cuts) - 1} weeks {held} can be kept out, '
      f'as {_LEARNT} are learnt for each'
    )
  learnt = math.ceil(config.ranker.train.steps * config.ranker.train.batch_size / (len(cuts) - 1 - held))
  of_ranker = dataclasses.replace(config.funnel, users=min(learnt, config.funnel.users or learnt))
  bag_length = config.ranker.bag_length
  groups: list[Groups] = []
  samples: list[CalibrationSample] = []
  kept_out: list[Held] = []
  newcomers: list[GuardSample] = []
  retriever, fitted_blend = None, None
  origin: dict[str, Any] = {}
  for age in range(len(cuts) - 1, -1, -1):
    cut = cuts[age]
    if retriever is None or _due(data, cut, age, tower.refresh):
      tell(f'\ntwo towers, as of {weeks.first_day(cut)}')
      # Users of the weeks to learn from are asked about all at once, for which no index pays.
      as_of_cut = dataclasses.replace(tower, index='exact') if age else tower
      sequence = retriever.sequence if retriever else None
      retriever, run = training.train_towers(data, cut, as_of_cut, folder / str(cut), retriever)
      if run.interrupted:
        return None
      origin = run.origin('tower_')
      if config.sequence:
        tell(f'\n{config.sequence.kind}, as of {weeks.first_day(cut)}')
        at = folder.parent / 'sequence' / str(cut)
        sequence, run = sequence_training.train(data, cut, config.sequence, as_of_cut.index_config, at, sequence)
        if run.interrupted:
          return None
        origin |= run.origin('sequence_')
        retriever = dataclasses.replace(retriever, sequence=sequence)
    else:
      retriever = retriever.renewed(histories, cut, None if age else tower.index_config)
    week = week_at(data, cut, retriever, histories, of_ranker if age else config.funnel)
    tell(f'{weeks.first_day(cut)}: {_describe_union(week)}')
    fitted_blend = fitted_blend or fit_blend(week)
    if age:
      best, dense = funnel.select(week.union, fitted_blend, config.funnel.keep)
      inputs = ranker_inputs(week.union.snapshot, best, dense, codes_of_users, bag_length)
      outcome = labels.label(best, week.targets, data.num_items)
      if age < len(cuts) - 1:  # the first week's blend has learnt from it
        newcomers.append(_sample_newcomers(fitted_blend, week, best, outcome.bought))
      if age > held:
        groups.append(make_groups(best, inputs, outcome, size=config.funnel.group, seed=len(groups)))
      else:
        by = funnel.score_blend(fitted_blend, week.union.snapshot, best)
        kept_out.append(Held(best, inputs, by, outcome.bought, guard.segment(week.union.snapshot, best.users)))
      samples = [*samples, CalibrationSample.draw(inputs, outcome.bought)][-(held or _LATEST) :]
      del best, dense, inputs, outcome  # at full size there is no room for those of two weeks, nor for two weeks
      # The first week's is of that week already. Where towers are never refreshed, the last week's is fitted anew.
      if (age - 1) % (tower.refresh or len(cuts)) == 0 and age < len(cuts) - 1:
        fitted_blend = fit_blend(week)
      del week
      release_memory()
  assert retriever is not None
  assert fitted_blend is not None
  joined = Groups.join(groups, config.ranker.train.seed)
  return joined, Prepared(samples, kept_out, newcomers, week, retriever, fitted_blend, histories, origin)


def fit_guard(ready: Prepared, scorer: Ranker, newcomers: str) -> Guard:
  """The guard of a trained ranker, by the weeks that it has not learnt from; without any, see `guard.start`.

  Unless users without a purchase get the ranker's order, those of every week choose between the blend's and a source's.
  """
  before = guard.start(newcomers)
  if newcomers == 'blend':
    before = guard.choose(ready.newcomers, before, 'cold')
  samples = [
    GuardSample(week.candidates, scorer(week.inputs)[:, 0], week.by, week.segments, week.bought) for week in ready.held
  ]
  return guard.fit(samples, before)


def _sample_newcomers(by: Blend, week: Week, candidates: Candidates, bought: np.ndarray) -> GuardSample:
  """What the blend says of the candidates of users without a purchase."""
  segments = guard.segment(week.union.snapshot, candidates.users)
  mine = (segments == 'cold')[candidates.row]
  theirs = candidates.keep(mine)
  nothing = np.zeros(len(theirs.item), np.float32)
  said = funnel.score_blend(by, week.union.snapshot, theirs) if mine.any() else nothing
  return GuardSample(theirs, nothing, said, segments, bought[mine])


def _due(data: Dataset, cut: int, age: int, refresh: int) -> bool:
  """Whether towers go on learning before a week; its age is counted from the week held out, whose towers are fresh."""
  return bool(refresh) and age % refresh == 0 and data.between(cut - refresh * weeks.WEEK, cut).height > 0


def _describe_union(week: Week) -> str:
  """How many candidates the users of a week have, and what share of each one's purchases is among them."""
  candidates = week.union.candidates
  users, each = len(candidates.users), len(candidates.item) / len(candidates.users)
  recall = labels.recall(candidates, week.targets, week.union.snapshot.num_items).mean()
  return f'{users:,} users, {each:,.0f} candidates each, {recall:.1%} of what is bought'


def release_memory() -> None:
  """Collects what lies in cycles, and where the C library is glibc returns its free pages to the system.

  At full size the next step needs them, and allocators keep them.
  """
  gc.collect()
  if sys.platform == 'linux':
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
      trim(0)
