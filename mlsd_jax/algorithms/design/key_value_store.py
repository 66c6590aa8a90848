"""Key-value store with nested transactions and an append-only log.

`KeyValueStore(path)`, '' for one in memory only: `set(key, value)`, `get(key)` answers the value or None, `delete(key)`
answers whether the key was there, `count(value)` answers how many keys have a value. `begin()` opens a transaction,
also inside of another; `commit()` closes the innermost and gives its changes to the one around it, `rollback()` undoes
it; both raise ValueError when none is open. `reopen()` stops the store and reads it back: open transactions are lost,
all else is there. What has been acknowledged outside of every transaction is on disk and survives kill -9 at any moment
and a loss of power; the changes of a transaction appear together or not at all."""

import json
import random
from collections import Counter

from mlsd_jax.algorithms.append_log import AppendLog
from mlsd_jax.algorithms.problem import Call, Problem

_COMPACT_FROM = 1 << 16  # bytes of the log at which it is rewritten first, then at four times what was left


class KeyValueStore:
  """The pairs, the number of keys of each value, and for each open transaction how to undo it."""

  def __init__(self, path: str = ''):
    self.path = path
    self.compact_at = _COMPACT_FROM
    self.log: AppendLog | None = None
    self._load()

  def _load(self) -> None:
    self.pairs: dict[str, str] = {}
    self.counts: Counter[str] = Counter()
    self.undo: list[dict[str, str | None]] = []  # for each open transaction, what keys it changed had before it
    if self.path:
      self.log = AppendLog(self.path)
      for record in self.log.records:
        for key, value in json.loads(record):
          self._change(key, value)
      self.log.records.clear()

  def set(self, key: str, value: str) -> None:
    self._write(key, value)

  def get(self, key: str) -> str | None:
    return self.pairs.get(key)

  def delete(self, key: str) -> bool:
    if key not in self.pairs:
      return False
    self._write(key, None)
    return True

  def count(self, value: str) -> int:
    return self.counts[value]

  def begin(self) -> None:
    self.undo.append({})

  def commit(self) -> None:
    if not self.undo:
      raise ValueError('no transaction is open')
    inner = self.undo[-1]
    if len(self.undo) > 1:
      outer = self.undo[-2]
      for key, value in inner.items():
        outer.setdefault(key, value)
    else:
      self._record([(key, self.pairs.get(key)) for key, before in inner.items() if self.pairs.get(key) != before])
    self.undo.pop()  # only now: a commit that could not be written leaves the transaction open

  def rollback(self) -> None:
    if not self.undo:
      raise ValueError('no transaction is open')
    for key, value in self.undo.pop().items():
      self._change(key, value)

  def reopen(self) -> None:
    self.close()
    if self.path:
      self._load()
    else:
      while self.undo:
        self.rollback()

  def close(self) -> None:
    if self.log is not None:
      self.log.close()
      self.log = None

  def _write(self, key: str, value: str | None) -> None:
    if self.undo:
      self.undo[-1].setdefault(key, self.pairs.get(key))
    else:
      self._record([(key, value)])
    self._change(key, value)

  def _record(self, changes: list[tuple[str, str | None]]) -> None:
    """Brings changes to the disk, before anyone is told that they are made."""
    if self.log is None or not changes:
      return
    self.log.append(json.dumps(changes).encode())
    if self.log.size > self.compact_at:
      # Committed changes are in `pairs` already, those of a single write are not.
      pairs = self.pairs | dict(changes)
      self.log.rewrite(json.dumps([pair]).encode() for pair in pairs.items() if pair[1] is not None)
      self.compact_at = max(_COMPACT_FROM, 4 * self.log.size)

  def _change(self, key: str, value: str | None) -> None:
    before = self.pairs.pop(key, None)
    if before is not None:
      self.counts[before] -= 1
    if value is not None:
      self.pairs[key] = value
      self.counts[value] += 1


class Oracle:
  """A copy of everything for each open transaction."""

  def __init__(self, path: str = ''):
    self.states: list[dict[str, str]] = [{}]

  def set(self, key, value):
    self.states[-1][key] = value

  def get(self, key):
    return self.states[-1].get(key)

  def delete(self, key):
    return self.states[-1].pop(key, None) is not None

  def count(self, value):
    return list(self.states[-1].values()).count(value)

  def begin(self):
    self.states.append(dict(self.states[-1]))

  def commit(self):
    if len(self.states) == 1:
      raise ValueError
    self.states[-2:] = self.states[-1:]

  def rollback(self):
    if len(self.states) == 1:
      raise ValueError
    self.states.pop()

  def reopen(self):
    del self.states[1:]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('KeyValueStore', [''])]
  depth = 0
  for _ in range(count):
    key, value, kind = f'k{rng.randrange(size)}', f'v{rng.randrange(max(2, size // 4))}', rng.random()
    if kind < 0.35:
      calls.append(('set', [key, value]))
    elif kind < 0.6:
      calls.append(('get', [key]))
    elif kind < 0.7:
      calls.append(('delete', [key]))
    elif kind < 0.8:
      calls.append(('count', [value]))
    elif kind < 0.87 and depth < 4:
      depth += 1
      calls.append(('begin', []))
    elif kind < 0.995:
      depth = max(0, depth - 1)
      calls.append((rng.choice(('commit', 'rollback')), []))
    else:
      depth = 0
      calls.append(('reopen', []))
  return calls


PROBLEM = Problem(
  KeyValueStore,
  Oracle,
  operations,
  {'set': '1', 'get': '1', 'delete': '1', 'count': '1', 'begin': '1', 'commit': '1', 'rollback': '1', 'reopen': '1'},
  sizes=(2048, 4096, 16384),
)
