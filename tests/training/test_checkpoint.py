import dataclasses
import errno
import json
import logging
import os
import random
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mlsd_jax.errors import UserError
from mlsd_jax.training import checkpoint
from mlsd_jax.training.checkpoint import Checkpoints


class Moments(NamedTuple):
  count: jax.Array
  mu: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  step: jax.Array
  params: Any
  opt_state: Any
  key: jax.Array


def make_mesh(rows, columns):
  return jax.make_mesh((rows, columns), ('data', 'fsdp'), axis_types=(AxisType.Auto,) * 2)


def make_state(number: int, mesh=None, size: int = 64) -> State:
  """A state of every kind of leaf the trainer has; another one for every number."""
  mesh = make_mesh(8, 1) if mesh is None else mesh
  place = lambda x, *spec: jax.device_put(x, NamedSharding(mesh, PartitionSpec(*spec)))
  key = jax.random.key(number)
  params = {
    'blocks': [
      {'kernel': place(jax.random.normal(jax.random.fold_in(key, i), (size, 8)), ('data', 'fsdp'))} for i in (0, 1)
    ],
    'norm.scale/x': place(jax.random.normal(key, (8,)).astype(jnp.bfloat16)),
  }
  opt_state = (Moments(place(jnp.int32(number)), jax.tree.map(lambda x: x * 2, params)), (), None)
  return State(place(jnp.int32(number)), params, opt_state, place(key))


def abstract(state, mesh=None, *spec):
  """`state` as shapes, kept where it is or placed on another mesh."""

  def leaf(x):
    where = x.sharding if mesh is None else NamedSharding(mesh, PartitionSpec(*(spec if x.ndim == 2 else ())))
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

  return jax.tree.map(leaf, state)


def host(tree):
  data = lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
  return jax.tree.map(lambda x: np.array(data(x)), tree)  # a copy: np.asarray may be the buffer itself


def assert_same(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(host(found)), jax.tree.leaves(host(expected)), strict=True):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def damage(folder, step, at=0.5):
  """Flips one byte in the largest file of a checkpoint, where the arrays are."""
  path = max((p for p in (folder / str(step)).rglob('*') if p.is_file()), key=lambda p: p.stat().st_size)
  content = bytearray(path.read_bytes())
  content[int(len(content) * at)] ^= 1
  path.write_bytes(content)
  return path


def names(folder):
  return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_restored(tmp_path):
  state = make_state(3)
  with Checkpoints(tmp_path / 'checkpoints', metadata={'model': 'gpt'}) as checkpoints:
    assert checkpoints.latest_good() is None
    checkpoints.save(3, state)
  again = Checkpoints(tmp_path / 'checkpoints')
  assert again.latest_good() == 3
  restored = again.restore(3, abstract(state))
  assert_same(restored, state)
  assert jax.tree.map(lambda x: x.sharding, restored) == jax.tree.map(lambda x: x.sharding, state)
  assert again.metadata(3) == {'model': 'gpt'}
  assert names(tmp_path / 'checkpoints') == ['3', '3.sha256.json']


@pytest.mark.parametrize('spec', [(), ('data',), (('data', 'fsdp'),)])
def test_the_caller_may_donate_the_state_at_once(tmp_path, spec):
  mesh = make_mesh(8, 1)
  place = NamedSharding(mesh, PartitionSpec(*spec))
  state = {f'w{i}': jax.device_put(jnp.full((512, 512), i, jnp.float32), place) for i in range(8)}
  update = jax.jit(lambda tree: jax.tree.map(lambda x: x * 1.5 + 1, tree), donate_argnums=0)
  state = update(state)
  expected = host(state)
  with Checkpoints(tmp_path) as checkpoints:
    shapes = abstract(state)
    checkpoints.save(1, state)
    for _ in range(20):
      state = update(state)
    jax.block_until_ready(state)
    checkpoints.wait()
    restored = checkpoints.restore(1, shapes)
    assert_same(restored, expected)
    # What was restored may be donated as well: the files and a second reading stay as they are.
    for _ in range(3):
      restored = update(restored)
    assert_same(checkpoints.restore(1, shapes), expected)
  assert not np.array_equal(host(state)['w1'], expected['w1'])


def test_restores_onto_another_mesh(tmp_path):
  state = make_state(1, make_mesh(8, 1))
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state)
    checkpoints.wait()
    for mesh, spec in [(make_mesh(2, 4), ('fsdp',)), (make_mesh(2, 4), ('data', 'fsdp')), (make_mesh(1, 8), ())]:
      wanted = abstract(state, mesh, *spec)
      restored = checkpoints.restore(1, wanted)
      assert_same(restored, state)
      assert all(
        a.sharding.is_equivalent_to(b.sharding, a.ndim)
        for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(wanted), strict=True)
      )


def test_parameters_are_restored_without_the_optimiser(tmp_path):
  state = make_state(5)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(5, state)
    checkpoints.wait()
    assert_same(checkpoints.restore_params(5, abstract(state).params), state.params)
    unplaced = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state.params)
    restored = checkpoints.restore_params(5, unplaced)
    assert_same(restored, state.params)
    assert {len(x.sharding.device_set) for x in jax.tree.leaves(restored)} == {1}
    part = checkpoints.restore(5, {'key': abstract(state).key}, partial=True)
    assert_same(part['key'], state.key)


def test_the_newest_whole_one_is_used_and_the_damaged_named(tmp_path):
  lines = []
  with Checkpoints(tmp_path, keep=5) as checkpoints:
    for step in (1, 2, 3, 4):
      checkpoints.save(step, make_state(step))
  flipped = damage(tmp_path, 3)
  (tmp_path / '4.sha256.json').unlink()
  checkpoints = Checkpoints(tmp_path, keep=5, warn=lines.append)
  assert checkpoints.latest_good() == 2
  assert lines == [
    f'checkpoint 4 in {tmp_path} is passed over: 4.sha256.json is missing (its writer was stopped before '
    'the end); checkpoint 2 is used instead',
    f'checkpoint 3 in {tmp_path} is passed over: {flipped} does not match its checksum; checkpoint 2 is used instead',
  ]
  assert_same(checkpoints.restore(2, abstract(make_state(0))), make_state(2))
  assert names(tmp_path) == sorted(['1', '1.sha256.json', '2', '2.sha256.json', '3', '3.sha256.json', '4'])
  with pytest.raises(UserError, match=f'checkpoint 3 in .* cannot be used: {flipped} does not match'):
    checkpoints.restore(3, abstract(make_state(0)))


def test_every_flipped_bit_is_named_and_the_checkpoint_before_used(tmp_path, check_flips):
  with Checkpoints(tmp_path, metadata={'model': 'small'}) as checkpoints:
    for step in (1, 2):
      checkpoints.save(step, make_state(step, size=8))

  def read():
    checkpoints = Checkpoints(tmp_path)
    step = checkpoints.latest_good()
    return step, checkpoints.metadata(step)

  noticed = check_flips(tmp_path, read)
  assert {name.split('/')[0] for name in noticed} == {'2', '2.sha256.json'}


def test_a_second_run_in_the_same_folder_is_given_the_process_id_of_the_first(tmp_path):
  with Checkpoints(tmp_path) as first:
    first.save(1, make_state(1))
    with pytest.raises(UserError, match=f'checkpoint 2 could not be .* is being written by process {os.getpid()}'):
      Checkpoints(tmp_path).save(2, make_state(2))
  with Checkpoints(tmp_path) as second:
    second.save(2, make_state(2))
  assert Checkpoints(tmp_path).steps() == [1, 2]


def test_warnings_are_logged_unless_told_otherwise(tmp_path, caplog):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1))
  damage(tmp_path, 1)
  with caplog.at_level(logging.WARNING):
    assert Checkpoints(tmp_path).latest_good() is None
  assert [record.levelname for record in caplog.records] == ['WARNING']
  assert 'no earlier checkpoint is whole' in caplog.text


def test_a_damaged_step_is_replaced_and_kept_until_then(tmp_path, monkeypatch):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1))
    checkpoints.save(2, make_state(2))
  damage(tmp_path, 2)
  with Checkpoints(tmp_path, warn=lambda line: None) as checkpoints:
    assert checkpoints.latest_good() == 1
    fails = lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, os.strerror(errno.EIO)))
    with monkeypatch.context() as patch:
      patch.setattr(checkpoints._files, 'seal', fails)
      checkpoints.save(2, make_state(2))
      with pytest.raises(UserError, match='checkpoint 2 could not be written'):
        checkpoints.wait()
    assert '2.damaged' in names(tmp_path)  # the new one is not whole, so nothing is thrown away
    assert checkpoints.latest_good() == 1
    checkpoints.save(2, make_state(2))
    checkpoints.wait()
    assert checkpoints.latest_good() == 2
    assert_same(checkpoints.restore(2, abstract(make_state(0))), make_state(2))
  assert names(tmp_path) == ['1', '1.sha256.json', '2', '2.sha256.json']


def test_a_whole_step_is_not_written_again(tmp_path):
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1))
    checkpoints.save(1, make_state(7))
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(8))
    assert_same(checkpoints.restore(1, abstract(make_state(0))), make_state(1))


@pytest.mark.parametrize('keep', [1, 2, 4])
def test_the_newest_are_kept(tmp_path, keep):
  with Checkpoints(tmp_path, keep=keep) as checkpoints:
    for step in range(10, 70, 10):
      checkpoints.save(step, make_state(step))
  kept = list(range(10, 70, 10))[-keep:]
  assert names(tmp_path) == sorted([str(step) for step in kept] + [f'{step}.sha256.json' for step in kept])
  assert Checkpoints(tmp_path).steps() == kept


def test_damaged_ones_do_not_push_out_whole_ones(tmp_path):
  with Checkpoints(tmp_path, keep=3) as checkpoints:
    for step in (1, 2, 3):
      checkpoints.save(step, make_state(step))
  damage(tmp_path, 2)
  damage(tmp_path, 3)
  with Checkpoints(tmp_path, keep=2, warn=lambda line: None) as checkpoints:
    assert checkpoints.latest_good() == 1
    checkpoints.save(4, make_state(4))
    checkpoints.wait()
    assert checkpoints.steps() == [1, 2, 3, 4]
    checkpoints.save(5, make_state(5))
    checkpoints.wait()
    assert checkpoints.steps() == [2, 3, 4, 5]


def test_another_model_is_one_line(tmp_path):
  state = {'params': {'a': jnp.zeros((4, 2)), 'b': jnp.zeros(3)}, 'key': jax.random.key(0)}
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, state)
    checkpoints.wait()
    cases = {
      'params/a is float32[4,2] there and float32[4,3] here': {'params': {'a': jnp.zeros((4, 3)), 'b': jnp.zeros(3)}},
      'params/b is float32[3] there and int32[3] here': {'params': {'a': jnp.zeros((4, 2)), 'b': jnp.zeros(3, int)}},
      'it has no params/c, which is float32[3] here': {'params': {'a': jnp.zeros((4, 2)), 'c': jnp.zeros(3)}},
      'it has params/b float32[3], which there is not here': {'params': {'a': jnp.zeros((4, 2))}},
    }
    for message, change in cases.items():
      with pytest.raises(UserError) as caught:
        checkpoints.restore(1, state | change)
      assert str(caught.value) == f'checkpoint 1 in {tmp_path} is of another model: {message}'
    with pytest.raises(UserError, match='key is key<fry>'):
      checkpoints.restore(1, state | {'key': jax.random.key(0, impl='rbg')})
    with pytest.raises(UserError, match='cannot be used: there is no folder'):
      checkpoints.restore(2, state)


def test_bad_arguments_are_user_errors(tmp_path):
  with pytest.raises(UserError, match='keep=0'):
    Checkpoints(tmp_path, keep=0)
  with pytest.raises(UserError, match=r'no version 4 in .*; there are none'):
    Checkpoints(tmp_path).metadata(4)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='Not a directory'):
    Checkpoints(tmp_path / 'file' / 'checkpoints').save(1, make_state(1))


def test_no_space_is_told_before_anything_is_written(tmp_path, monkeypatch):
  state = make_state(2)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(1, make_state(1))
    checkpoints.wait()
    usage = namedtuple('usage', 'total used free')
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage(10**9, 10**9 - 1000, 1000))
    before = names(tmp_path)
    with pytest.raises(UserError, match=r'checkpoint 2 .* No space left on device, 0.01 MB needed, 0.00 MB free'):
      checkpoints.save(2, state)
    assert names(tmp_path) == before
    assert checkpoints.latest_good() == 1


FULL = """
import resource, sys
import jax, jax.numpy as jnp
from mlsd_jax.errors import UserError
from mlsd_jax.training.checkpoint import Checkpoints
params = {f'b{i}': jax.random.normal(jax.random.key(i), (128, 256)) for i in range(16)}
with Checkpoints(sys.argv[1]) as checkpoints:
  checkpoints.save(1, params)
  checkpoints.wait()
  for limit in (300_000, 5_000, 100):  # in the arrays; in the metadata; in everything
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    checkpoints.save(2, params)
    try:
      checkpoints.save(3, params)
    except UserError as error:
      resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
      print(error, flush=True)
    assert checkpoints.latest_good() == 1
  checkpoints.save(4, params)
"""


def test_what_nobody_asked_orbax_for_is_not_told(tmp_path, caplog, monkeypatch):
  monkeypatch.setattr(logging.getLogger('asyncio'), 'filters', [])
  error_of = lambda path: (OSError, FileNotFoundError(2, 'No such file or directory', str(path)), None)
  checkpoint._hush_orbax(tmp_path / 'checkpoints')
  asyncio = logging.getLogger('asyncio')
  for path in (tmp_path / 'checkpoints' / '2' / 'process_0', tmp_path / 'other'):
    asyncio.error('Future exception was never retrieved', exc_info=error_of(path))
  assert [record.exc_info[1].filename for record in caplog.records] == [str(tmp_path / 'other')]


def test_a_failed_write_is_one_line_and_earlier_checkpoints_stay(tmp_path, within):
  """The limit on a file's size stands in for a full disk: it strikes in the middle of Orbax's background threads."""
  command = [sys.executable, '-c', FULL, str(tmp_path)]
  result = subprocess.run(command, capture_output=True, text=True, timeout=within(120))
  assert result.returncode == 0, result.stderr
  message = f'checkpoint 2 could not be written to {tmp_path}: File too large; checkpoint 1 is untouched'
  assert result.stdout.splitlines() == [message] * 3
  assert result.stderr == ''  # Orbax would print a dozen tracebacks
  assert Checkpoints(tmp_path).steps() == [1, 4]


def test_a_bug_keeps_its_own_error(tmp_path, monkeypatch):
  with Checkpoints(tmp_path) as checkpoints:
    monkeypatch.setattr(checkpoints._files, 'seal', lambda *_: {}['bug'])
    checkpoints.save(1, make_state(1))
    with pytest.raises(KeyError, match='bug'):
      checkpoints.wait()


def test_an_exception_of_the_run_is_not_hidden_by_one_of_saving(tmp_path, monkeypatch):
  def run():
    with Checkpoints(tmp_path) as checkpoints:
      monkeypatch.setattr(checkpoints._files, 'seal', lambda *_: {}['bug'])
      checkpoints.save(1, make_state(1))
      raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError):
    run()


def test_orbax_is_imported_only_to_save_or_restore(tmp_path):
  script = (
    'import sys\n'
    'from mlsd_jax.training.checkpoint import Checkpoints\n'
    f'with Checkpoints({str(tmp_path)!r}) as checkpoints:\n'
    '  checkpoints.latest_good()\n'
    "print('orbax' in sys.modules)\n"
  )
  result = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
  assert result.stdout == 'False\n'


KILLED = """
import sys, numpy as np
import jax, jax.numpy as jnp
from mlsd_jax.training.checkpoint import Checkpoints

update = jax.jit(lambda s: {'step': s['step'] + 1, 'w': s['w'] + 1.0}, donate_argnums=0)
state = {'step': jnp.int32(0), 'w': jnp.arange(200_000, dtype=jnp.float32)}
with Checkpoints(sys.argv[1], keep=2) as checkpoints:
  step = checkpoints.latest_good()
  if step is not None:
    state = checkpoints.restore(step, state)
    assert int(state['step']) == step
    np.testing.assert_array_equal(state['w'], np.arange(200_000, dtype=np.float32) + step)
  step = step or 0
  print('ready', step, flush=True)
  while step < int(sys.argv[2]):
    state = update(state)
    step += 1
    checkpoints.save(step, state)
    print('saving', step, flush=True)
"""


@pytest.mark.slow
def test_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path, start_process):
  generator = random.Random(0)
  reached = 0
  environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '1'}
  command = [sys.executable, '-W', 'error', '-c', KILLED, str(tmp_path)]
  for _ in range(4):
    process = start_process([*command, '100000'], env=environment, stdout=subprocess.PIPE, text=True)
    word, step = process.stdout.readline().split()
    assert word == 'ready'
    assert int(step) >= reached  # nothing that was whole has been lost
    for _ in range(generator.randint(1, 4)):
      word, step = process.stdout.readline().split()
    time.sleep(generator.uniform(0, 0.2))
    process.kill()
    process.wait()
    reached = int(step) - 1  # a save begins when the one before is whole
  assert reached > 0
  found = Checkpoints(tmp_path).latest_good()  # a killed process may have come further than it could say
  assert found >= reached
  last = found + 3
  lines = subprocess.run([*command, str(last)], env=environment, capture_output=True, text=True, check=True)
  assert lines.stdout.startswith(f'ready {found}\n')
  assert Checkpoints(tmp_path).latest_good() == last
  assert names(tmp_path) == sorted(name for step in (last - 1, last) for name in (str(step), f'{step}.sha256.json'))


TWO = """
import jax, jax.numpy as jnp, json, resource
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from mlsd_jax.errors import UserError
from mlsd_jax.training import sharding
from mlsd_jax.training.checkpoint import Checkpoints

mesh = sharding.make_mesh({'fsdp': 8})
split, whole = NamedSharding(mesh, PartitionSpec('fsdp')), NamedSharding(mesh, PartitionSpec())
struct = lambda shape, dtype, where: jax.ShapeDtypeStruct(shape, dtype, sharding=where)
key = jax.eval_shape(lambda: jax.random.key(0))
wanted = {'w': struct((64, 8), jnp.float32, split), 'key': struct((), key.dtype, whole)}
with Checkpoints(arguments[0], keep=2) as checkpoints:
  found = checkpoints.latest_good()
  state = checkpoints.restore(found, wanted)
  assert len(state['w'].addressable_shards) == 4
  total = jax.jit(jnp.sum, out_shardings=whole)(state['w'])
  update = jax.jit(lambda s: {'w': s['w'] + 1, 'key': s['key']}, donate_argnums=0)
  for step in (found + 1, found + 2):
    state = update(state)
    checkpoints.save(step, state)
  checkpoints.wait()
  assert checkpoints.latest_good() == found + 2
  if index == '1':  # only this one cannot write
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, -1))
  checkpoints.save(found + 3, update(state))
  message = None
  try:
    checkpoints.wait()
  except UserError as error:
    message = str(error)
  print(json.dumps([float(total), message, checkpoints.latest_good()]))
"""


@pytest.mark.slow
def test_one_process_to_two_and_back(tmp_path, run_processes):
  mesh = make_mesh(8, 1)
  w = jax.random.normal(jax.random.key(1), (64, 8))
  state = {'w': jax.device_put(w, NamedSharding(mesh, PartitionSpec('data'))), 'key': jax.random.key(7)}
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    checkpoints.save(1, state)
  outputs = [json.loads(output) for output in run_processes(TWO, tmp_path)]
  for total, message, latest in outputs:
    assert total == pytest.approx(float(jnp.sum(w)), rel=1e-5)
    # A write that fails on one process is told on all, at once, and costs no earlier checkpoint.
    assert message == f'checkpoint 4 could not be written to {tmp_path}: File too large; checkpoint 3 is untouched'
    assert latest == 3
  with Checkpoints(tmp_path, keep=2) as checkpoints:
    assert checkpoints.latest_good() == 3
    restored = checkpoints.restore(3, abstract(state, make_mesh(2, 4), 'fsdp'))
    assert_same(restored, {'w': w + 1 + 1, 'key': state['key']})
    assert json.loads((tmp_path / '3.sha256.json').read_text())['note']['process_count'] == 2


def test_shapes_and_differences_are_in_the_trees_order():
  tree = {'a': jnp.zeros((2, 3)), 'b': [jnp.zeros((), jnp.int32)]}
  assert checkpoint.shapes(tree) == {'a': [[2, 3], 'float32'], 'b/0': [[], 'int32']}
  saved = checkpoint.shapes(tree)
  assert checkpoint.first_difference(saved, saved) is None
  assert checkpoint.first_difference(saved, {}) == 'it has a float32[2,3], which there is not here'
  assert checkpoint.first_difference(saved, {}, partial=True) is None
  assert checkpoint.first_difference({}, saved, partial=True) == 'it has no a, which is float32[2,3] here'
