"""Why an item was recommended: the sources that named it, and a sentence."""

import dataclasses

import numpy as np

from mlsd_jax.recsys.known.snapshot import AFFINITY, PAIR
from mlsd_jax.recsys.serving import State
from mlsd_jax.recsys.stages.candidates import read_covisitation


@dataclasses.dataclass(frozen=True)
class Reason:
  """Why an item was recommended: the sources that named it, with its rank in each, and a sentence."""

  sources: str
  why: str


def explain(state: State, user: int, item: int, rank: np.ndarray, names: tuple[str, ...]) -> Reason:
  """Why `item` was among the candidates of `user`.

  Args:
    rank: [S] its rank in each source, 0 where it was not named.
  """
  named = {name: int(place) for name, place in zip(names, rank, strict=True) if place}
  named_by = ', '.join(f'{name} {place}' for name, place in sorted(named.items(), key=lambda pair: pair[1]))
  snapshot = state.snapshot
  users, items = np.array([user]), np.array([item])
  pair = snapshot.pair_rows(users, items)[0]
  days, since, first = (pair[PAIR.index(name)] for name in ('days', 'since', 'first'))
  if days > 1:
    every = (first - since) / (days - 1)
    return Reason(named_by, f'bought on {days:.0f} days, about every {max(every, 1):.0f}, last {since:.0f} days ago')
  if days == 1:
    return Reason(named_by, f'bought once, {since:.0f} days ago')
  if 'covisit' in named and named['covisit'] == min(named.values()):
    companion = _find_companion(state, user, item)
    if companion:
      return Reason(named_by, f'often in one basket with {companion}, bought lately')
  known = snapshot.affinity_rows(len(snapshot.categories) - 1, users, items)[0]
  category, count = state.items['category'][item], known[AFFINITY.index('n')]
  if 'category' in named and count and category:
    return Reason(named_by, f'popular in {category}, of which {count:.0f} were bought')
  week = snapshot.column('item', 'n7')[item]
  if 'place' in named or 'popular' in named:
    return Reason(named_by, f'popular: {week:.0f} bought this week')
  return Reason(named_by, 'near to what was bought before')


def _find_companion(state: State, user: int, item: int) -> str:
  """The recent item of the user that speaks most for `item`."""
  recent = state.snapshot['recent'][user]
  recent = recent[recent >= 0]
  if not len(recent):
    return ''
  weights = read_covisitation(state.snapshot)[recent, item].toarray().ravel()
  return str(state.items['name'][int(recent[weights.argmax()])]) if weights.max() > 0 else ''
