"""What each stage of a funnel ranks first in a week: every source alone, the baselines, the blend, the ranker."""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mlsd_jax.recsys import funnel
from mlsd_jax.recsys.funnel import Funnel, Scored, Week
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import user_slices
from mlsd_jax.recsys.stages.blend import Blend
from mlsd_jax.recsys.stages.candidates import SOURCES, fill, popular
from mlsd_jax.recsys.stages.filters import Filter
from mlsd_jax.recsys.stages.labels import Labels, label
from mlsd_jax.recsys.stages.tower_source import Retriever

_DEPTH = 1000  # items a user


@dataclasses.dataclass(frozen=True)
class Ranked:
  """What each stage says of one week.

  Attributes:
    users: [U].
    rankings: [U, _DEPTH] items by stage, best first.
    scored: what the ranker chose from.
    labels: of those candidates.
  """

  users: np.ndarray
  rankings: Mapping[str, np.ndarray]
  scored: Scored
  labels: Labels


def rank(week: Week, trained: Funnel, histories: Histories) -> Ranked:
  """Rankings of 1,000 by each source alone, by the baselines, by the blend and by the ranker."""
  rankings = rank_sources(week, trained.blend, trained.retriever, histories)
  scored = funnel.score(trained, week.union)
  best = scored.candidates.ranked(scored.logits[:, 0], trained.keep)
  # Behind the ranker's own come the blend's others, so that every stage has as deep a list.
  rankings['ranker'] = np.stack([_distinct(row, _DEPTH) for row in np.concatenate([best, rankings['blend']], 1)])
  labels = label(scored.candidates, week.targets, week.union.snapshot.num_items)
  return Ranked(week.union.candidates.users, rankings, scored, labels)


def rank_sources(week: Week, blend: Blend, retriever: Retriever | None, histories: Histories) -> dict[str, np.ndarray]:
  """Rankings [U, 1,000] by each source alone, by the baselines and by the blend.

  Where nobody buys a thing twice, sources and baselines leave out what a user has, as any shop would.
  """
  snapshot, union = week.union.snapshot, week.union.candidates
  users = union.users
  everyone = popular(snapshot, users[:1], 2 * _DEPTH)[0][0]
  only = None if snapshot.buys_again else Filter(exclude_bought=True)
  sources = {name: SOURCES[name] for name in union.sources if name in SOURCES}
  models = retriever.named(union.sources) if retriever else {}
  vectors = {name: model.users(histories, users, snapshot.cut) for name, model in models.items()}

  def rank_slice(rows: slice) -> dict[str, np.ndarray]:
    # The sources again, as the union took fewer of each than are judged.
    every = sources | {name: model.source(vectors[name][rows]) for name, model in models.items()}
    rankings = {name: source(snapshot, users[rows], _DEPTH, only)[0] for name, source in every.items()}
    if 'repurchase' in rankings:
      others = everyone if only is None else popular(snapshot, users[rows], 2 * _DEPTH, only)[0]
      rankings['repurchase + popular'] = fill(rankings['repurchase'], others)
    blended = blend.score(week.union.signals[union.start[rows.start] : union.start[rows.stop]])
    return rankings | {'blend': fill(union.slice_users(rows).ranked(blended, _DEPTH), everyone)}

  parts = user_slices.over_users(rank_slice, len(users))
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _distinct(items: np.ndarray, k: int) -> np.ndarray:
  """The first k distinct items of a row, -1 left out and filled up with."""
  items = items[items >= 0]
  first = np.sort(np.unique(items, return_index=True)[1])[:k]
  return np.pad(items[first], (0, k - len(first)), constant_values=-1)
