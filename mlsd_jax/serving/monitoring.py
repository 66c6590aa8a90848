"""Whether who asks and what is answered are still as they were at the build, and whether the chances come true.

Drift is the population stability index (Siddiqi 2006): sum over bins of (now - then) ln(now / then), the bins being
deciles of users of the build's state and of what is recommended to them. Two samples of one population have an index
too, of (bins - 1) (1/N + 1/M) in the mean (Yurdakul 2018), which is taken off: of 150 users it is as large as a drift.
Below 0.1 is taken for stable, above 0.25 for another population.

A chance is that of a purchase within the week by somebody who buys at all in it. So only answers to users who bought
within the week after count for calibration. An event is credited to the answer that it names, else to the latest that
showed its item to its user within the week before.
"""

import collections
import sys
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsd_jax.recsys import serving
from mlsd_jax.recsys.known.snapshot import USER
from mlsd_jax.recsys.serving import State
from mlsd_jax.serving.answers import Shown
from mlsd_jax.serving.shop import Event

INPUTS = ('n30', 'n', 'days30', 'since', 'items', 'price')  # of a user, see known/snapshot.py
_COLUMNS = [USER.index(name) for name in INPUTS]
_WEEK = 7 * 86_400
_USERS = 256  # of the build, whose recommendations are the reference
_AT_ONCE = 64
_LATEST = 10_000  # answers that drift is of, and that events are joined to
_LEAST = 100  # answers below which a drift is chance
_BINS = 10
_CHANCES = np.array([0.0, 0.01, 0.03, 0.1, 0.3, 1.0])  # bounds of calibration's bins


def psi(reference: np.ndarray, values: np.ndarray, bins: int = _BINS) -> float:
  """The population stability index of `values` [N] against `reference` [M], in quantiles of the latter."""
  edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
  share = lambda x: (
    (np.bincount(np.searchsorted(edges, x, 'left'), minlength=len(edges) + 1) + 0.5) / (len(x) + 0.5 * (len(edges) + 1))
  )
  then, now = share(reference), share(values)
  return float(((now - then) * np.log(now / then)).sum())


def excess(reference: np.ndarray, values: np.ndarray, then: int, now: int, bins: int = _BINS) -> float:
  """The index without its mean under chance, at least 0.

  Args:
    then, now: independent users in either: the chances of one answer go together, and count as one.
  """
  edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
  return max(psi(reference, values, bins) - len(edges) * (1 / then + 1 / now), 0.0)


class _Answer:
  """What is remembered of an answer: little, as there are thousands. Ids are one object each, however often shown, and
  numbers are bytes, of which an array takes twice as many."""

  __slots__ = ('_chances', '_inputs', 'bought', 'buys', 'clicked', 'credited', 'id', 'items', 'time', 'user')

  def __init__(self, shown: Shown, user: np.ndarray | None):
    """`user` [len(USER)] is what was known of the user; None for one who is not known."""
    self.id, self.time, self.user = shown.answer, shown.time, sys.intern(shown.user)
    self.items = tuple(map(sys.intern, shown.items))
    self._chances = np.array(shown.probability, np.float32).tobytes()
    self._inputs = None if user is None else user[_COLUMNS].astype(np.float32).tobytes()
    self.clicked = self.credited = self.bought = frozenset[str]()
    self.buys = False  # whether the user bought anything within the week after

  @property
  def probability(self) -> np.ndarray:
    """Of each item."""
    return np.frombuffer(self._chances, np.float32)

  @property
  def inputs(self) -> np.ndarray | None:
    """[len(INPUTS)] of the user."""
    return None if self._inputs is None else np.frombuffer(self._inputs, np.float32)


class Monitor:
  """Figures of one recommender, over its latest answers since the server started. Any thread may tell and ask."""

  def __init__(self, state: State):
    """The reference is drawn from users of `state` who bought within 30 days before its cut."""
    users = state.snapshot['user'][: len(state.users)]
    lately = np.flatnonzero(users[:, USER.index('n30')] > 0)
    lately = lately if len(lately) else np.arange(len(users))
    chosen = np.random.default_rng(0).choice(lately, min(_USERS, len(lately)), replace=False)
    # As many at once as a server answers, so that nothing else is compiled.
    parts = np.array_split(chosen, -(-len(chosen) // _AT_ONCE))
    chances = np.concatenate([serving.recommend(state, part).probability.ravel() for part in parts])
    self._then = {name: users[lately, USER.index(name)] for name in INPUTS} | {'score': chances[chances > 0]}
    self._users = dict.fromkeys(INPUTS, len(lately)) | {'score': len(chosen)}
    self._answers: collections.OrderedDict[str, _Answer] = collections.OrderedDict()
    self._of_user: dict[str, list[_Answer]] = {}
    self._counts = collections.Counter[str]()
    self._chances = np.zeros((len(_CHANCES) - 1, 3))  # shown, sum of chances, bought: to users who bought
    self._lock = threading.Lock()

  def on_answer(self, shown: Shown, user: np.ndarray | None) -> None:
    """Counts an answer; `user` [len(USER)] is what was known of the user, None for one who is not known."""
    answer = _Answer(shown, user)
    with self._lock:
      self._answers[answer.id] = answer
      self._of_user.setdefault(answer.user, []).append(answer)
      self._counts.update({'answers': 1, 'items': len(shown.items), 'unknown': not shown.known})
      while len(self._answers) > _LATEST:
        _, oldest = self._answers.popitem(last=False)
        left = self._of_user[oldest.user]
        left.remove(oldest)
        if not left:
          del self._of_user[oldest.user]

  def on_events(self, events: Sequence[Event]) -> None:
    """Counts events, and joins them to answers."""
    with self._lock:
      for event in events:
        self._counts[event.kind] += 1
        after = [each for each in self._of_user.get(event.user, ()) if 0 <= event.time - each.time <= _WEEK]
        named = self._answers.get(event.answer)
        showed = [named] if named else [each for each in after if event.item in each.items]
        if event.kind == 'click' and showed:
          showed[-1].clicked |= {event.item}
        if event.kind == 'purchase':
          self._count_purchase(event.item, after)
          if showed and event.item in showed[-1].items and event.item not in showed[-1].credited:
            showed[-1].credited |= {event.item}
            self._counts['bought'] += 1

  def _count_purchase(self, item: str, after: Sequence[_Answer]) -> None:
    for answer in after:
      if not answer.buys:
        answer.buys = True
        for place, chance in zip(_bin(answer.probability), answer.probability, strict=True):
          self._chances[place, :2] += 1, chance
      if item in answer.items and item not in answer.bought:
        answer.bought |= {item}
        chance = answer.probability[answer.items.index(item)]
        self._chances[_bin(np.array([chance]))[0], 2] += 1

  def figures(self) -> dict[str, Any]:
    """All of them; null where there is too little to say."""
    with self._lock:
      now, counts, chances = list(self._answers.values()), self._counts.copy(), self._chances.copy()
      clicks = sum(len(each.clicked) for each in now)
    known = [inputs for each in now if (inputs := each.inputs) is not None]
    table = np.array(known) if known else np.zeros((0, len(INPUTS)))
    values = dict(zip(INPUTS, table.T, strict=True)) | {
      'score': np.concatenate([np.zeros(0), *(each.probability for each in now)])
    }
    enough = {name: len(known) >= _LEAST for name in INPUTS} | {'score': len(now) >= _LEAST}
    asked = dict.fromkeys(INPUTS, len(known)) | {'score': len(now)}
    share = lambda part, whole: part / whole if whole else None
    shown, predicted, bought = chances.sum(0)
    return {
      'answers': counts['answers'],
      'unknown_users': share(counts['unknown'], counts['answers']),
      'events': {kind: counts[kind] for kind in ('purchase', 'click', 'impression')},
      'drift': {
        name: excess(then, values[name], self._users[name], asked[name]) if enough[name] else None
        for name, then in self._then.items()
      },
      'ctr': share(clicks, counts['items']),
      'conversion': share(counts['bought'], counts['items']),
      'calibration': {
        'shown': int(shown),
        'predicted': share(predicted, shown),
        'bought': share(bought, shown),
        'ratio': share(bought, predicted),
        'bins': [
          {
            'from': low,
            'to': high,
            'shown': int(row[0]),
            'predicted': share(row[1], row[0]),
            'bought': share(row[2], row[0]),
          }
          for low, high, row in zip(_CHANCES[:-1].tolist(), _CHANCES[1:].tolist(), chances.tolist(), strict=True)
        ],
      },
    }


def _bin(chances: np.ndarray) -> np.ndarray:
  return np.clip(np.searchsorted(_CHANCES, chances, 'right') - 1, 0, len(_CHANCES) - 2)
