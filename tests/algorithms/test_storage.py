"""The key-value store's log: cut at every byte, failing at every write, its process killed; the database's planner."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlsd_jax.algorithms import append_log
from mlsd_jax.algorithms.append_log import AppendLog, split_records
from mlsd_jax.algorithms.design import database
from mlsd_jax.algorithms.design.key_value_store import KeyValueStore, Oracle
from mlsd_jax.errors import UserError


@pytest.fixture
def no_flush(monkeypatch):
  """The disk's own time left out, where what is written counts and not when."""
  monkeypatch.setattr(append_log.os, 'fsync', lambda descriptor: None)


class StoreMachine(RuleBasedStateMachine):
  """A store on disk beside its oracle; closing and opening again may come at any time."""

  keys, values = st.sampled_from('abcd'), st.sampled_from('xyz')

  def __init__(self):
    super().__init__()
    self.folder = tempfile.TemporaryDirectory()
    self.store = KeyValueStore(f'{self.folder.name}/log')
    self.oracle = Oracle()

  @rule(key=keys, value=values)
  def set(self, key, value):
    self.store.set(key, value)
    self.oracle.set(key, value)

  @rule(key=keys)
  def delete(self, key):
    assert self.store.delete(key) == self.oracle.delete(key)

  @rule()
  def begin(self):
    self.store.begin()
    self.oracle.begin()

  @precondition(lambda self: len(self.oracle.states) > 1)
  @rule(name=st.sampled_from(('commit', 'rollback')))
  def end(self, name):
    getattr(self.store, name)()
    getattr(self.oracle, name)()

  @rule()
  def reopen(self):
    self.store.reopen()
    self.oracle.reopen()

  @invariant()
  def same(self):
    assert self.store.pairs == self.oracle.states[-1]
    assert all(self.store.count(value) == self.oracle.count(value) for value in 'xyz')

  def teardown(self):
    self.store.close()
    self.folder.cleanup()


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=20, stateful_step_count=25)


def history(path, steps=25, seed=0):
  """Plays random changes; (bytes of the log, pairs) after each that was acknowledged."""
  rng, store = random.Random(seed), KeyValueStore(str(path))
  states = [(0, {})]
  for _ in range(steps):
    if rng.random() < 0.3:  # a transaction: all of it or nothing
      store.begin()
      for _ in range(rng.randint(1, 4)):
        store.set(rng.choice('abcdef'), str(rng.randrange(100)))
      store.delete(rng.choice('abcdef'))
      store.commit()
    else:
      store.set(rng.choice('abcdef'), 'v' * rng.randint(1, 5))
    states.append((store.log.size, dict(store.pairs)))
  store.close()
  return states


def test_a_log_cut_at_any_byte_has_all_that_was_acknowledged(tmp_path, no_flush):
  states = history(tmp_path / 'log')
  data = (tmp_path / 'log').read_bytes()
  for length in range(len(data) + 1):
    for tail in (b'', b'\0' * 9):  # a file may have been made longer before it was filled
      (tmp_path / 'cut').write_bytes(data[:length] + tail)
      store = KeyValueStore(str(tmp_path / 'cut'))
      expected = [pairs for size, pairs in states if size <= length][-1]
      assert store.pairs == expected
      store.set('after', 'all')
      store.close()
      store = KeyValueStore(str(tmp_path / 'cut'))
      assert store.pairs == expected | {'after': 'all'}
      store.close()


def test_a_damaged_record_with_others_behind_it_is_an_error(tmp_path, no_flush):
  history(tmp_path / 'log')
  whole = (tmp_path / 'log').read_bytes()
  for bit in (*range(64), 80):  # of the length, of the checksum, of what is recorded
    data = bytearray(whole)
    data[bit // 8] ^= 1 << bit % 8
    (tmp_path / 'log').write_bytes(data)
    with pytest.raises(UserError, match='damaged at byte 0, with whole records behind it'):
      KeyValueStore(str(tmp_path / 'log'))
    assert (tmp_path / 'log').read_bytes() == data


@pytest.mark.parametrize('call', ['pwrite', 'fsync', 'ftruncate'])
@pytest.mark.parametrize('torn', [0, 5])
def test_a_write_that_fails_changes_nothing(tmp_path, monkeypatch, call, torn):
  """The disk is full, at every write in turn; some of the bytes may have gone through."""
  for failing in range(12):
    path = tmp_path / f'log{failing}'
    store, expected, count = KeyValueStore(str(path)), {}, 0
    real = {name: getattr(os, name) for name in ('pwrite', 'fsync', 'ftruncate')}

    def broken(*arguments):
      nonlocal count
      count += 1
      if count - 1 == failing:
        if call == 'pwrite':
          real['pwrite'](arguments[0], arguments[1][:torn], arguments[2])
        raise OSError(28, 'No space left on device')
      return real[call](*arguments)

    monkeypatch.setattr(append_log.os, call, broken)
    for number in range(15):
      with contextlib.suppress(OSError, UserError):
        store.set(f'k{number % 4}', str(number))
        expected[f'k{number % 4}'] = str(number)
      assert store.pairs == expected
    monkeypatch.setattr(append_log.os, call, real[call])
    store.close()
    store = KeyValueStore(str(path))
    assert store.pairs == expected
    store.close()


def test_compaction_keeps_everything_and_bounds_the_log(tmp_path, no_flush):
  store = KeyValueStore(str(tmp_path / 'log'))
  for number in range(3000):
    store.set(f'k{number % 10}', str(number) * 10)
  assert store.log.size < 70_000
  pairs = dict(store.pairs)
  store.reopen()
  assert store.pairs == pairs
  store.close()


@pytest.mark.parametrize('call', ['fsync', 'pwrite'])
def test_a_stop_in_the_middle_of_compaction_loses_nothing(tmp_path, monkeypatch, call):
  for failing in range(4):
    log = AppendLog(tmp_path / f'log{failing}')
    log.append(b'one')
    log.append(b'two')
    count, real = 0, getattr(os, call)

    def stops(*arguments):
      nonlocal count
      count += 1
      if count - 1 == failing:
        raise KeyboardInterrupt
      return real(*arguments)

    monkeypatch.setattr(append_log.os, call, stops)
    with contextlib.suppress(KeyboardInterrupt):
      log.rewrite([b'both'])
    monkeypatch.setattr(append_log.os, call, real)
    log.close()
    with AppendLog(tmp_path / f'log{failing}') as again:
      assert again.records in ([b'one', b'two'], [b'both'])


def test_kill_9_loses_nothing_acknowledged(tmp_path, start_process):
  code = f"""
    import itertools
    from mlsd_jax.algorithms.design.key_value_store import KeyValueStore
    store = KeyValueStore({str(tmp_path / 'log')!r})
    first = int(store.get('number') or 0)
    for number in itertools.count(first + 1):
      store.begin()
      store.set('number', str(number))
      store.set('twin', str(number))
      store.commit()
      print(number, flush=True)
    """
  acknowledged = 0
  for kill_after in (1, 7, 40):
    process = start_process([sys.executable, '-c', textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    for _ in range(kill_after):
      acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    acknowledged = int((process.stdout.read().splitlines() or [acknowledged])[-1])
    process.wait()
    store = KeyValueStore(str(tmp_path / 'log'))
    assert store.get('number') == store.get('twin')
    assert acknowledged <= int(store.get('number')) <= acknowledged + 1
    store.close()


def test_one_process_at_a_time(tmp_path):
  with AppendLog(tmp_path / 'log'), pytest.raises(UserError, match='is open in another process'):
    AppendLog(tmp_path / 'log')


@given(st.lists(st.binary(min_size=1, max_size=20)), st.binary(max_size=12))
def test_records_come_back(records, tail):
  data = b''.join(map(append_log._pack, records))
  found, size = split_records(data)
  assert (found, size) == (records, len(data))
  assert split_records(data + tail)[0][: len(records)] == records


def people(indexes=('age', 'name')):
  base = database.Database()
  base.create_table('people', {'name': 'text', 'age': 'int', 'rate': 'float', 'member': 'bool'})
  for number in range(100):
    row = {'name': f'n{number % 10}', 'age': number % 50, 'rate': number / 4, 'member': number % 2 == 0}
    base.insert('people', row)
  for column in indexes:
    base.create_index('people', column)
  return base


@pytest.mark.parametrize(
  ('where', 'expected'),
  [
    (None, 'scan'),
    (['age', '=', 3], 'index age'),
    (['age', '!=', 3], 'scan'),
    (['rate', '=', 3.0], 'scan'),
    (['age', 'in', [3, 4]], 'index age'),
    (['and', ['age', '>=', 3], ['age', '<', 6]], 'index age'),
    (['and', ['name', '=', 'n1'], ['age', '=', 1]], 'index age'),  # 2 rows against 10
    (['and', ['name', '=', 'n1'], ['age', '>', 1]], 'index name'),
    (['and', ['name', '=', 'n1'], ['rate', '>', 1.0]], 'index name'),
    (['or', ['name', '=', 'n1'], ['age', '=', 1]], 'index name + index age'),
    (['or', ['name', '=', 'n1'], ['rate', '>', 1.0]], 'scan'),
    (['or', ['age', '<', 40], ['age', '>', 5]], 'scan'),  # more candidates than rows
    (['not', ['age', '=', 1]], 'scan'),
  ],
)
def test_the_planner_takes_the_cheapest_way_and_no_wrong_one(where, expected):
  base = people()
  assert base.explain('people', where) == expected
  assert base.select('people', ['rate'], where) == people(()).select('people', ['rate'], where)


def test_a_transaction_rolls_back_rows_and_indexes():
  base = people()
  before = json.dumps(base.select('people', ['name', 'age', 'rate', 'member']))
  base.begin()
  base.insert('people', {'name': 'new', 'age': 1, 'rate': 0, 'member': False})
  assert base.update('people', {'age': 7}, ['name', '=', 'n1']) == 10
  assert base.delete('people', ['age', '<', 10]) == 29  # 18 that were young, ten that are 7 now, the new one
  base.rollback()
  assert json.dumps(base.select('people', ['name', 'age', 'rate', 'member'])) == before
  assert len(base.select('people', ['name'], ['age', '=', 7])) == 2
  assert base.select('people', ['name'], ['name', '=', 'new']) == []


@pytest.mark.parametrize(
  'call',
  [
    lambda base: base.select('nobody', []),
    lambda base: base.select('people', ['height']),
    lambda base: base.select('people', ['age'], ['age', '~', 3]),
    lambda base: base.select('people', ['age'], ['age', '=', 'three']),
    lambda base: base.select('people', ['age'], ['age', '=', True]),
    lambda base: base.select('people', ['age'], ['rate', '=', float('nan')]),
    lambda base: base.insert('people', {'age': 3}),
    lambda base: base.update('people', {'age': 0.5}),
    lambda base: base.create_table('other', {'and': 'int'}),
    lambda base: base.commit(),
  ],
)
def test_what_cannot_be_is_refused(call):
  with pytest.raises(ValueError):
    call(people())
