"""The funnel: sources -> blend -> ranker, a week at a time, and what comes out of each stage."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import user_slices
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.purchases import weeks as splits
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.purchases.weeks import Targets
from mlsd_jax.recsys.stages import blend, calibration, features, ranker
from mlsd_jax.recsys.stages.blend import Blend
from mlsd_jax.recsys.stages.candidates import SOURCES, Candidates, Source, collect, fill, popular
from mlsd_jax.recsys.stages.features import Features
from mlsd_jax.recsys.stages.ranker import Groups, Scorer
from mlsd_jax.recsys.stages.tower_source import NAME, Retriever

_HISTORY = 4  # weeks before the ranker's first


@dataclasses.dataclass(frozen=True)
class FunnelConfig:
  """How many candidates pass each stage.

  Attributes:
    weeks: on which the ranker is trained, those before the one held out; fewer where little history would be left.
    users: of each week, drawn at random where more of them bought; 0 for all. (Of the ranker's weeks no more than its
      updates see, see stages.prepare.)
    per_source: best of each source that join the union.
    keep: of the union that the blend passes to the ranker.
    group: candidates of a user and week that the ranker is trained on.
    skip: weeks at the end of the data that are left out altogether, so that an earlier one is held out.
  """

  per_source: Mapping[str, int]
  weeks: int = 12
  keep: int = 300
  group: int = 96
  skip: int = 0
  users: int = 0


@dataclasses.dataclass(frozen=True)
class Week:
  """Users, what is known of them at a cut, and the union of their candidates."""

  snapshot: Snapshot
  targets: Targets
  candidates: Candidates
  signals: np.ndarray


def prepare(
  snapshot: Snapshot,
  targets: Targets,
  users: np.ndarray,
  retriever: Retriever | None,
  histories: Histories,
  per_source: Mapping[str, int],
) -> Week:
  """The union of all sources for `users` at the snapshot's cut."""
  sources: dict[str, Source] = {name: SOURCES[name] for name in per_source if name in SOURCES}
  towers = retriever if NAME in per_source else None
  vectors = towers.users(histories, users, snapshot.cut) if towers else np.zeros((len(users), 0), np.float32)

  def some(chosen: slice) -> tuple[Candidates, np.ndarray]:
    asked = sources | {NAME: towers.source(vectors[chosen])} if towers else sources
    union = collect(snapshot, users[chosen], asked, per_source)
    if towers:
      union = towers.scored(union, vectors[chosen])
    return union, blend.signals(snapshot, union)

  unions, signals = zip(*user_slices.over_users(some, len(users)), strict=True)
  return Week(snapshot, targets, Candidates.join(unions), np.concatenate(signals))


def fit_blend(week: Week) -> Blend:
  return blend.fit(week.signals, ranker.label(week.candidates, week.targets, week.snapshot.num_items).bought)


def narrowed(week: Week, by: Blend, keep: int) -> tuple[Candidates, Features]:
  """The best `keep` of each user's union, with the features of the ranker."""
  start = week.candidates.start

  def some(chosen: slice) -> tuple[Candidates, Features]:
    signals = week.signals[start[chosen.start] : start[chosen.stop]]
    best = week.candidates.of(chosen).best(by.score(signals), keep)
    return best, features.features(week.snapshot, best)

  best, found = zip(*user_slices.over_users(some, len(week.candidates.users)), strict=True)
  return Candidates.join(best), Features.join(found)


def bags(snapshot: Snapshot, length: int) -> np.ndarray:
  """[U + 1, length] rows of the item table of each user's latest items, 0 where there is none; the latest last."""
  return (snapshot['recent'][:, :length] + 1)[:, ::-1].astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Pool:
  """What the blend passes to the ranker of one week: candidates with their features and what became of them.

  Attributes:
    bags: [U + 1, L], see `bags`.
    open_log: [N] added to logits for days on which the shop is closed, see `open_log`.
    weight: [N] candidates that each stands for.
  """

  candidates: Candidates
  features: Features
  labels: ranker.Labels
  bags: np.ndarray
  open_log: np.ndarray
  weight: np.ndarray


def pool(week: Week, by: Blend, keep: int, bag_length: int) -> Pool:
  best, found = narrowed(week, by, keep)
  labels = ranker.label(best, week.targets, week.snapshot.num_items)
  closed = open_log(week.snapshot, best.user)
  return Pool(best, found, labels, bags(week.snapshot, max(bag_length, 1)), closed, np.ones(len(closed), np.float32))


def groups_of(pool: Pool, user_codes: np.ndarray, size: int, seed: int) -> Groups:
  """Training examples of one week, `size` candidates a user."""
  users = pool.candidates.users
  return ranker.make_groups(
    pool.candidates, pool.features, pool.labels, user_codes[users], pool.bags[users], size=size, seed=seed
  )


def sampled(pool: Pool, rows: int = 400_000, seed: int = 0) -> Pool:
  """Every purchase and as many of the others, drawn at random, as make up so many rows; `candidates` stays whole.

  Where one in 300 is bought, a line fitted on rows drawn alike would hang on a few hundred purchases.
  """
  bought = np.flatnonzero(pool.labels.bought)
  others = np.flatnonzero(~pool.labels.bought)
  number = min(max(rows - len(bought), 1), len(others))
  drawn = np.random.default_rng(seed).choice(others, number, replace=False)
  some = np.sort(np.concatenate([bought, drawn]))
  pick = lambda values: dataclasses.replace(
    values, **{field.name: getattr(values, field.name)[some] for field in dataclasses.fields(values)}
  )
  labels = pick(pool.labels)
  weight = np.where(labels.bought, 1.0, len(others) / max(number, 1)).astype(np.float32)
  return dataclasses.replace(
    pool, features=pick(pool.features), labels=labels, open_log=pool.open_log[some], weight=weight
  )


def open_log(snapshot: Snapshot, users: np.ndarray) -> np.ndarray:
  """[len(users)] what is added to log-odds of a purchase in a week on some days of which the shop is closed.

  Who shops at all in a week makes r / (1 - exp(-r)) trips in it if trips are Poisson of rate r (that of a distribution
  without its zero); of r only the share of open days is left.
  """
  if snapshot.open_share == 1.0:
    return np.zeros(len(users), np.float32)
  rate = np.maximum(snapshot.column('user', 'days30')[users] * 7 / 30, 1e-3)
  trips = lambda r: r / -np.expm1(-r)
  return np.log(trips(rate * max(snapshot.open_share, 1e-3)) / trips(rate)).astype(np.float32)


def calibrated(scorer: Scorer, pools: Sequence[Pool], user_codes: np.ndarray) -> Scorer:
  """The ranker with its probabilities put right on some weeks: trained on more, it has the rate of all of them."""
  of = lambda pool: scorer(pool.features, user_codes, pool.bags)[:, 0] + pool.open_log
  logits = np.concatenate([of(pool) for pool in pools])
  bought = np.concatenate([pool.labels.bought for pool in pools])
  return scorer.moved(*calibration.straight_line(logits, bought, np.concatenate([pool.weight for pool in pools])))


@dataclasses.dataclass(frozen=True)
class Ranked:
  """What each stage says of one week: rankings [U, K] by stage, and the ranker's candidates with their logits."""

  users: np.ndarray
  rankings: Mapping[str, np.ndarray]
  candidates: Candidates
  features: Features
  logits: np.ndarray
  labels: ranker.Labels


def rank(
  week: Week,
  by: Blend,
  scorer: Scorer,
  user_codes: np.ndarray,
  keep: int,
  retriever: Retriever | None,
  histories: Histories,
) -> Ranked:
  """Rankings of 1,000 by each source alone, by the baselines, by the blend and by the ranker."""
  union, users, depth = week.candidates, week.candidates.users, 1000
  everyone = popular(week.snapshot, users[:1], 2 * depth)[0][0]
  sources = {name: SOURCES[name] for name in union.sources if name in SOURCES}
  towers = retriever if NAME in union.sources else None
  vectors = towers.users(histories, users, week.snapshot.cut) if towers else np.zeros((len(users), 0), np.float32)

  def some(rows: slice) -> dict[str, np.ndarray]:
    # Asked anew, as the union took fewer of each than are judged.
    asked = sources | {NAME: towers.source(vectors[rows])} if towers else sources
    found = {name: source(week.snapshot, users[rows], depth)[0] for name, source in asked.items()}
    if 'repurchase' in found:
      found['repurchase + popular'] = fill(found['repurchase'], everyone)
    blended = by.score(week.signals[union.start[rows.start] : union.start[rows.stop]])
    return found | {'blend': fill(union.of(rows).ranked(blended, depth), everyone)}

  parts = user_slices.over_users(some, len(users))
  rankings = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
  chosen = pool(week, by, keep, scorer.config.bag_length)
  best, logits = chosen.candidates, scorer(chosen.features, user_codes, chosen.bags)
  logits[:, 0] += chosen.open_log
  ranked = best.ranked(logits[:, 0], keep)
  # Behind the ranker's own come the blend's others, so that every stage has as deep a list.
  rest = np.concatenate([ranked, rankings['blend']], 1)
  rankings['ranker'] = np.stack([_distinct(row, depth) for row in rest])
  return Ranked(users, rankings, best, chosen.features, logits, chosen.labels)


def _distinct(items: np.ndarray, k: int) -> np.ndarray:
  """The first k distinct items of a row, -1 left out and filled up with."""
  items = items[items >= 0]
  first = np.sort(np.unique(items, return_index=True)[1])[:k]
  return np.pad(items[first], (0, k - len(first)), constant_values=-1)


def weeks_of(dataset: Dataset, number: int) -> list[int]:
  """The cut of the week held out, then those of the ranker's weeks, the latest first: at most `number` of them.

  They are fewer where little history would be left, and weeks in which nothing was bought are left out.

  Raises:
    UserError: no week is left to train on, or the data is too short.
  """
  whole = int(dataset.events['time'][-1] - dataset.events['time'][0]) // splits.WEEK
  held_out, *weeks = splits.cuts(dataset, min(number, max(whole - _HISTORY, 1)) + 1)
  found = [cut for cut in weeks if dataset.between(cut, cut + splits.WEEK).height]
  if not found:
    raise UserError(
      f'{dataset.name}: nothing was bought in the {len(weeks)} weeks before the one held out; '
      'there must be a week to train on: a larger config.funnel.weeks reaches further back'
    )
  return [held_out, *found]
