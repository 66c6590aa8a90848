"""The weeks before a cut, one after the other: towers, candidates, blend, and what a ranker learns from."""

import dataclasses
import math
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mlsd_jax.recsys import funnel, memory, training
from mlsd_jax.recsys.funnel import FunnelConfig, Pool, Week
from mlsd_jax.recsys.judging import tables
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import DAY, Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages.blend import Blend
from mlsd_jax.recsys.stages.ranker import Groups
from mlsd_jax.recsys.stages.tower_examples import user_codes
from mlsd_jax.recsys.stages.tower_source import NAME, Retriever
from mlsd_jax.recsys.training import TowerSettings
from mlsd_jax.training.config import TrainConfig

_LATEST = 4  # weeks on which probabilities are put right: one alone foretells the rate of the next less well


@dataclasses.dataclass(frozen=True)
class Prepared:
  """Everything but the ranker.

  Attributes:
    latest: what the ranker sees of the last of them, or of a sample.
    week: the week held out.
    retriever: as of that week.
    blend: fitted on the last of the ranker's weeks.
  """

  latest: Sequence[Pool]
  week: Week
  retriever: Retriever
  blend: Blend
  histories: Histories


def week_at(data: Dataset, cut: int, retriever: Retriever, histories: Histories, settings: FunnelConfig) -> Week:
  """The union of candidates of everyone who buys in the week from `cut` on (or of settings.users of them)."""
  targets = weeks.targets(data, cut).sample(settings.users)
  return funnel.prepare(snapshot.take(data, cut), targets, targets.users, retriever, histories, settings.per_source)


def prepare(
  data: Dataset,
  cuts: Sequence[int],
  settings: FunnelConfig,
  tower: TowerSettings,
  tower_train: TrainConfig,
  bag_length: int,
  folder: pathlib.Path,
  visits: int,
  tell: Callable[[str], None] = print,
  seed: int = 0,
) -> tuple[Groups, Prepared] | None:
  """The ranker's examples and what else there is before it; None if told to stop.

  Towers are trained up to the ranker's first week and go on every `tower.refresh` weeks, so that those asked about a
  week know none of it and are fewer than `tower.refresh` weeks old; their factors are renewed every week. The blend is
  fitted anew as often, on the week before: candidates that an old one chose are not those of the week held out.

  Args:
    cuts: of the week held out, then of the ranker's weeks, the latest first.
    folder: of the towers' runs; what is finished there is not trained again.
    visits: users and weeks that the ranker's training goes through: no more are made, as many of each week, so that
      a shop with many users needs no more time or memory than that.
  """
  histories, of_users = training.histories_of(data), user_codes(data)
  tower = dataclasses.replace(tower, depth=settings.per_source.get(NAME, tower.depth))
  parts: list[Groups] = []
  learnt = math.ceil(visits / (len(cuts) - 1))
  sampled = dataclasses.replace(settings, users=min(learnt, settings.users or learnt))
  latest: list[Pool] = []
  retriever, blend, refresh = None, None, tower.refresh or len(cuts)
  for age in range(len(cuts) - 1, -1, -1):
    cut = cuts[age]
    # Counted from the week held out, so that it is asked of fresh towers.
    bought_since = data.between(cut - refresh * weeks.WEEK, cut).height
    if retriever is None or (age % refresh == 0 and bought_since):
      tell(f'\ntwo towers, as of {first_day(cut)}')
      # Users of the weeks to learn from are asked about all at once, for which no index pays.
      settings_ = dataclasses.replace(tower, index='exact') if age else tower
      retriever, fitted = training.train_towers(data, cut, settings_, tower_train, folder / str(cut), retriever)
      if fitted.interrupted:
        return None
    else:
      retriever = retriever.renewed(histories, cut)
    week = week_at(data, cut, retriever, histories, sampled if age else settings)
    tell(f'{first_day(cut)}: {tables.union_line(week)}')
    blend = blend or funnel.fit_blend(week)
    if age:
      pool = funnel.pool(week, blend, settings.keep, bag_length)
      parts.append(funnel.groups_of(pool, of_users, settings.group, len(parts)))
      latest = [*latest[1 - _LATEST :], funnel.sampled(pool)]
      del pool  # at full size there is no room for two, neither of these nor of weeks
      if (age - 1) % refresh == 0 and len(parts) > 1:  # the first week's is of that week already
        blend = funnel.fit_blend(week)
      del week
      memory.give_back()
  assert retriever is not None
  assert blend is not None
  return Groups.join(parts, seed), Prepared(latest, week, retriever, blend, histories)


def first_day(cut: int) -> np.datetime64:
  """The day with which a week begins: where days are all that is known, cuts lie a second past the midnight before."""
  return day(cut - 1 + DAY if cut % DAY == 1 else cut)


def day(second: int) -> np.datetime64:
  """The day that a second since 1970 lies in."""
  return np.datetime64(int(second), 's').astype('datetime64[D]')
