"""Why an item was recommended: the sources that named it, and a sentence."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from mlsd_jax.recsys.known.snapshot import AFFINITY, PAIR, Snapshot, look_up
from mlsd_jax.recsys.purchases.histories import concatenate_ranges
from mlsd_jax.recsys.serving import State
from mlsd_jax.recsys.stages.blend import weigh_sources
from mlsd_jax.recsys.stages.candidates import Candidates


@dataclasses.dataclass(frozen=True)
class Reason:
  """Why an item was recommended: the sources that named it, with its rank in each, and a sentence of the one that
  counted most."""

  sources: str
  why: str


def explain(
  state: State, user: int, item: int, rank: np.ndarray, names: tuple[str, ...], score: np.ndarray | None = None
) -> Reason:
  """Why `item` was among the candidates of `user`: what the source says that counted most in the blend.

  Args:
    rank: [S] its rank in each source, 0 where it was not named.
    score: [S] its score in each, which counts too; none by default.
  """
  scores = np.zeros(len(names), np.float32) if score is None else score
  return explain_each(state, np.array([user]), np.array([item]), rank[None], names, scores[None])[0]


def explain_each(
  state: State, users: np.ndarray, items: np.ndarray, rank: np.ndarray, names: tuple[str, ...], score: np.ndarray
) -> list[Reason]:
  """As `explain`, of N items for N users at once.

  Args:
    rank: [N, S]; score: [N, S].
  """
  if not len(items):
    return []
  users, items = np.asarray(users), np.asarray(items)
  each = Candidates(users, np.arange(len(items) + 1), items.astype(np.int32), rank, score, names)
  weights = weigh_sources(state.funnel.blend, state.snapshot, each)
  named_by_covisit = rank[:, names.index('covisit')] > 0 if 'covisit' in names else np.zeros(len(items), bool)
  known = _Known.of(state, users, items, named_by_covisit)
  rows = zip(rank.tolist(), np.stack([weights[name] for name in names], 1).tolist(), strict=True)
  return [_explain(known, row, names, *said) for row, said in enumerate(rows)]


@dataclasses.dataclass(frozen=True)
class _Known:
  """What sentences are made of, of N users with items.

  Attributes:
    pair: [N, len(PAIR)].
    sales: [N, 3] purchases of the item in 7 days, in 30 days, ever.
    in_place: [N] purchases in 30 days where the user usually buys.
    of_category: [levels, N] purchases of the item's category by the user.
    companion: [N] the recent item of the user that speaks most for the item, -1 if none does.
    has_bought: [N] bool, whether the user ever bought anything.
  """

  state: State
  items: np.ndarray
  pair: np.ndarray
  sales: np.ndarray
  in_place: np.ndarray
  of_category: np.ndarray
  companion: np.ndarray
  has_bought: np.ndarray

  @classmethod
  def of(cls, state: State, users: np.ndarray, items: np.ndarray, with_companion: np.ndarray) -> '_Known':
    """Companions are looked up where `with_companion` [N] bool says so."""
    snapshot = state.snapshot
    place = snapshot['place'][users].astype(np.int64)
    keys = place * snapshot.num_items + items
    in_place = look_up(snapshot['place_key'], snapshot['place_count'], keys, np.zeros(1, np.float32))[:, 0]
    bought = AFFINITY.index('n')
    levels = range(len(snapshot.categories))
    companion = np.full(len(items), -1)
    companion[with_companion] = _find_companions(snapshot, users[with_companion], items[with_companion])
    return cls(
      state,
      items,
      snapshot.pair_rows(users, items),
      np.stack([snapshot.column('item', name)[items] for name in ('n7', 'n30', 'n')], 1),
      np.where(place >= 0, in_place, 0),
      np.stack([snapshot.affinity_rows(level, users, items)[:, bought] for level in levels]),
      companion,
      snapshot.column('user', 'n')[users] > 0,
    )


def _find_companions(snapshot: Snapshot, users: np.ndarray, items: np.ndarray) -> np.ndarray:
  """[N] the recent item of each user that was most often in one basket with the item; -1 where none was."""
  recent = snapshot['recent'][users]
  rows, columns = np.nonzero(recent >= 0)
  start = snapshot['covisit_start']
  starts, stops = start[recent[rows, columns]], start[recent[rows, columns] + 1]
  flat, pair = concatenate_ranges(starts, stops), np.repeat(np.arange(len(rows)), stops - starts)
  is_item = snapshot['covisit_item'][flat] == items[rows[pair]]
  weights = np.zeros(recent.shape, np.float32)
  weights[rows[pair[is_item]], columns[pair[is_item]]] = snapshot['covisit_score'][flat[is_item]]
  best = weights.argmax(1)
  at = np.arange(len(users))
  return np.where(weights[at, best] > 0, recent[at, best], -1)


def _explain(known: _Known, row: int, names: tuple[str, ...], rank: list[int], weights: list[float]) -> Reason:
  named = [source for source, place in enumerate(rank) if place]
  if not named:
    return Reason('none, filled up', _describe_sales(known, row))
  named_by = ', '.join(f'{names[source]} {rank[source]}' for source in sorted(named, key=rank.__getitem__))
  # A source that counted most and has nothing to say that is true leaves the word to the next.
  by_weight = sorted(named, key=lambda source: -weights[source])
  sentences = (_SENTENCES[names[source]](known, row) for source in by_weight)
  return Reason(named_by, next(filter(None, sentences), _describe_sales(known, row)))


def _describe_pair(known: _Known, row: int) -> str:
  days, since, first = (float(known.pair[row, PAIR.index(name)]) for name in ('days', 'since', 'first'))
  if days > 1:
    every = (first - since) / (days - 1)
    return f'bought on {days:.0f} days, about every {max(every, 1):.0f}, last {_describe_age(since)}'
  return f'bought once, {_describe_age(since)}' if days == 1 else ''


def _describe_age(days: float) -> str:
  whole = round(days)
  return f'{whole} day{"" if whole == 1 else "s"} ago'


def _describe_sales(known: _Known, row: int) -> str:
  week, month, ever = (int(count) for count in known.sales[row])
  if week:
    return f'popular: {week} bought this week'
  if month:
    return f'popular: {month} bought in 30 days'
  return f'bought {ever} times in all' if ever else 'not bought by anyone yet'


def _describe_place(known: _Known, row: int) -> str:
  count = int(known.in_place[row])
  return f'{count} bought in 30 days where the user usually buys' if count else ''


def _describe_category(known: _Known, row: int) -> str:
  categories = known.state.snapshot.categories
  for level in reversed(range(len(categories))):  # the finest of which anything was bought
    count, finest = float(known.of_category[level, row]), level == len(categories) - 1
    if count:
      name = (known.state.items['category'][int(known.items[row])] if finest else '') or f'its {categories[level]}'
      return f'popular in {name}, of which {count:.0f} were bought'
  return ''


def _describe_companion(known: _Known, row: int) -> str:
  companion = int(known.companion[row])
  return f'often in one basket with {known.state.items["name"][companion]}, bought lately' if companion >= 0 else ''


def _describe_taste(known: _Known, row: int) -> str:
  return 'near to what was bought before' if known.has_bought[row] else 'likely for somebody without a history'


def _describe_order(known: _Known, row: int) -> str:
  return 'likely after what was bought last' if known.has_bought[row] else ''


_SENTENCES: Mapping[str, Callable[[_Known, int], str]] = {
  'repurchase': _describe_pair,
  'popular': _describe_sales,
  'place': _describe_place,
  'category': _describe_category,
  'covisit': _describe_companion,
  'tower': _describe_taste,
  'sequence': _describe_order,
}
