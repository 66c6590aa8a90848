"""Iterator that saves and restores its state.

`ResumableIterator(spec)` gives the numbers of a spec one by one: a number gives itself, a list all that its items
give, {"range": [start, stop]} the numbers of a range, {"repeat": [spec, times]} what a spec gives again and again
(not at all for 0 times or fewer), and {"zip": [a, b]} lists of one number of each until either ends. `next()`
answers the next or raises StopIteration; `save()` keeps the state and answers its number, from 0 on;
`restore(number)` goes back (or forth) to it, as often as wanted. A state is JSON, small whatever has been given or
is still to come, and works in another process: `get_state()` and `set_state(state)` are there for that."""

import json
import random
from collections.abc import Iterator
from typing import Any

from mlsd_jax.algorithms.problem import Call, Problem

Spec = Any  # a number, a list of specs, or a dictionary of one of the three kinds


class _Items:
  """What each item gives, one item after the other; at most one of them is under way."""

  def __init__(self, items: list[Spec]):
    self.items, self.place = items, 0
    self.inner: _Part | None = None

  def next(self) -> Any:
    while True:
      if self.inner is not None:
        try:
          return self.inner.next()
        except StopIteration:
          self.inner = None
      if self.place == len(self.items):
        raise StopIteration
      item = self.items[self.place]
      self.place += 1
      if isinstance(item, int):
        return item
      self.inner = _part(item)

  def state(self) -> Any:
    return [self.place, self.inner.state() if self.inner is not None else None]

  def resume(self, state: Any) -> None:
    self.place, inner = state
    self.inner = None
    if inner is not None:
      self.inner = _part(self.items[self.place - 1])
      self.inner.resume(inner)


class _Range:
  def __init__(self, start: int, stop: int):
    self.number, self.stop = start, stop

  def next(self) -> Any:
    if self.number >= self.stop:
      raise StopIteration
    self.number += 1
    return self.number - 1

  def state(self) -> Any:
    return self.number

  def resume(self, state: Any) -> None:
    self.number = state


class _Repeat:
  def __init__(self, spec: Spec, times: int):
    self.spec, self.left = spec, times
    self.inner = _part(spec)
    self.gave = False  # in this round

  def next(self) -> Any:
    while self.left > 0:
      try:
        item = self.inner.next()
        self.gave = True
        return item
      except StopIteration:
        # What gives nothing once gives nothing a thousand million times.
        self.left = self.left - 1 if self.gave else 0
        self.inner, self.gave = _part(self.spec), False
    raise StopIteration

  def state(self) -> Any:
    return [self.left, self.gave, self.inner.state()]

  def resume(self, state: Any) -> None:
    self.left, self.gave, inner = state
    self.inner = _part(self.spec)
    self.inner.resume(inner)


class _Zip:
  def __init__(self, *specs: Spec):
    self.inner = [_part(spec) for spec in specs]

  def next(self) -> Any:
    return [each.next() for each in self.inner]

  def state(self) -> Any:
    return [each.state() for each in self.inner]

  def resume(self, state: Any) -> None:
    for each, own in zip(self.inner, state, strict=True):
      each.resume(own)


_Part = _Items | _Range | _Repeat | _Zip
_KINDS: dict[str, Any] = {'range': _Range, 'repeat': _Repeat, 'zip': _Zip}


def _part(spec: Spec) -> _Part:
  if isinstance(spec, dict):
    ((kind, arguments),) = spec.items()
    return _KINDS[kind](*arguments)
  return _Items(spec if isinstance(spec, list) else [spec])


class ResumableIterator:
  """A tree of iterators along the place where it stands; the state is the place in each."""

  def __init__(self, spec: Spec):
    self.spec, self.part = spec, _part(spec)
    self.saved: list[str] = []
    self.ended = False

  def next(self) -> Any:
    if self.ended:
      raise StopIteration
    try:
      return self.part.next()
    except StopIteration:
      self.ended = True  # a zip whose shorter side has ended must not go on with the longer one
      raise

  def get_state(self) -> Any:
    return [self.ended, self.part.state()]

  def set_state(self, state: Any) -> None:
    self.ended = state[0]
    self.part = _part(self.spec)
    self.part.resume(state[1])

  def save(self) -> int:
    self.saved.append(json.dumps(self.get_state()))
    return len(self.saved) - 1

  def restore(self, number: int) -> None:
    self.set_state(json.loads(self.saved[number]))

  def __iter__(self) -> Iterator[Any]:
    return self

  __next__ = next


class Oracle:
  """Everything written out beforehand."""

  def __init__(self, spec):
    self.items, self.place, self.saved = self._expand(spec), 0, []

  def _expand(self, spec):
    if isinstance(spec, int):
      return [spec]
    if isinstance(spec, list):
      return [value for item in spec for value in self._expand(item)]
    if 'range' in spec:
      return list(range(*spec['range']))
    if 'repeat' in spec:
      return self._expand(spec['repeat'][0]) * spec['repeat'][1]
    return [list(pair) for pair in zip(*map(self._expand, spec['zip']), strict=False)]

  def next(self):
    if self.place == len(self.items):
      raise StopIteration
    self.place += 1
    return self.items[self.place - 1]

  def save(self):
    self.saved.append(self.place)
    return len(self.saved) - 1

  def restore(self, number):
    self.place = self.saved[number]


def _spec(rng: random.Random, depth: int) -> Spec:
  kind = rng.random()
  if depth == 0 or kind < 0.2:
    return rng.randrange(100)
  if kind < 0.7:
    return [_spec(rng, depth - 1) for _ in range(rng.randint(0, 4))]
  if kind < 0.8:
    start = rng.randrange(10)
    return {'range': [start, start + rng.randint(0, 6)]}
  if kind < 0.9:
    return {'repeat': [_spec(rng, depth - 1), rng.randint(0, 3)]}
  return {'zip': [_spec(rng, depth - 1), _spec(rng, depth - 1)]}


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  spec = [_spec(rng, 4) for _ in range(size)]
  calls: list[Call] = [('ResumableIterator', [spec])]
  saved = 0
  for _ in range(count):
    kind = rng.random()
    if kind < 0.9:
      calls.append(('next', []))
    elif kind < 0.95 or not saved:
      saved += 1
      calls.append(('save', []))
    else:
      calls.append(('restore', [rng.randrange(saved)]))
  return calls


PROBLEM = Problem(ResumableIterator, Oracle, operations, {'next': '1', 'save': '1', 'restore': '1'}, sizes=(2048, 8192))
