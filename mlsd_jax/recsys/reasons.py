"""Why an item was recommended: the sources that named it, and a sentence."""

import dataclasses

import numpy as np

from mlsd_jax.recsys.known.snapshot import AFFINITY, PAIR, look_up
from mlsd_jax.recsys.serving import State
from mlsd_jax.recsys.stages.blend import weigh_sources
from mlsd_jax.recsys.stages.candidates import Candidates, read_covisitation


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
  number = np.arange(len(items) + 1)
  each = Candidates(np.asarray(users), number, np.asarray(items, np.int32), rank, score, names)
  weights = weigh_sources(state.funnel.blend, state.snapshot, each) if len(items) else {}
  weigh = lambda row: {name: float(values[row]) for name, values in weights.items()}
  return [
    _explain(state, int(user), int(item), dict(zip(names, rank[row].tolist(), strict=True)), weigh(row))
    for row, (user, item) in enumerate(zip(users, items, strict=True))
  ]


def _explain(state: State, user: int, item: int, rank: dict[str, int], weights: dict[str, float]) -> Reason:
  named = {name: place for name, place in rank.items() if place}
  if not named:
    return Reason('none, filled up', _describe_sales(state, item))
  named_by = ', '.join(f'{name} {place}' for name, place in sorted(named.items(), key=lambda pair: pair[1]))
  # A source that counted most and has nothing to say that is true leaves the word to the next.
  sentences = (_SENTENCES[name](state, user, item) for name in sorted(named, key=lambda name: -weights[name]))
  return Reason(named_by, next(filter(None, sentences), _describe_sales(state, item)))


def _describe_pair(state: State, user: int, item: int) -> str:
  pair = state.snapshot.pair_rows(np.array([user]), np.array([item]))[0]
  days, since, first = (pair[PAIR.index(name)] for name in ('days', 'since', 'first'))
  if days > 1:
    every = (first - since) / (days - 1)
    return f'bought on {days:.0f} days, about every {max(every, 1):.0f}, last {_describe_age(since)}'
  return f'bought once, {_describe_age(since)}' if days == 1 else ''


def _describe_age(days: float) -> str:
  whole = round(days)
  return f'{whole} day{"" if whole == 1 else "s"} ago'


def _describe_sales(state: State, item: int) -> str:
  count = {name: int(state.snapshot.column('item', name)[item]) for name in ('n7', 'n30', 'n')}
  if count['n7']:
    return f'popular: {count["n7"]} bought this week'
  if count['n30']:
    return f'popular: {count["n30"]} bought in 30 days'
  return f'bought {count["n"]} times in all' if count['n'] else 'not bought by anyone yet'


def _describe_place(state: State, user: int, item: int) -> str:
  snapshot = state.snapshot
  place = int(snapshot['place'][user])
  key = np.array([place * snapshot.num_items + item])
  found = look_up(snapshot['place_key'], snapshot['place_count'], key, np.zeros(1, np.float32))
  count = int(found[0, 0]) if place >= 0 else 0
  return f'{count} bought in 30 days where the user usually buys' if count else ''


def _describe_category(state: State, user: int, item: int) -> str:
  snapshot = state.snapshot
  for level in reversed(range(len(snapshot.categories))):  # the finest of which anything was bought
    known = snapshot.affinity_rows(level, np.array([user]), np.array([item]))[0]
    count, finest = known[AFFINITY.index('n')], level == len(snapshot.categories) - 1
    if count:
      name = (state.items['category'][item] if finest else '') or f'its {snapshot.categories[level]}'
      return f'popular in {name}, of which {count:.0f} were bought'
  return ''


def _describe_companion(state: State, user: int, item: int) -> str:
  """The recent item of the user that speaks most for `item`."""
  recent = state.snapshot['recent'][user]
  recent = recent[recent >= 0]
  weights = read_covisitation(state.snapshot)[recent, item].toarray().ravel() if len(recent) else np.zeros(1)
  if weights.max() <= 0:
    return ''
  return f'often in one basket with {state.items["name"][int(recent[weights.argmax()])]}, bought lately'


def _describe_taste(state: State, user: int, item: int) -> str:
  del item
  has_bought = state.snapshot.column('user', 'n')[user] > 0
  return 'near to what was bought before' if has_bought else 'likely for somebody without a history'


_SENTENCES = {
  'repurchase': _describe_pair,
  'popular': lambda state, user, item: _describe_sales(state, item),
  'place': _describe_place,
  'category': _describe_category,
  'covisit': _describe_companion,
  'tower': _describe_taste,
}
