import json
import pathlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.training.sealed import SealedSteps


def write_step(steps: SealedSteps, step: int, seal: bool = True) -> pathlib.Path:
  folder = steps.path(step)
  (folder / 'deep').mkdir(parents=True)
  (folder / 'a').write_bytes(bytes(range(256)) * 4)
  (folder / 'deep' / 'b').write_bytes(b'step %d' % step)
  if seal:
    steps.seal(step, {'number': step})
  return folder


def test_a_step_counts_from_its_seal_on(tmp_path):
  steps = SealedSteps(tmp_path)
  write_step(steps, 7, seal=False)
  assert steps.all_steps() == [7]
  assert steps.sealed_steps() == []
  assert '7.sha256.json is missing' in steps.damage(7)
  steps.seal(7, {'x': 1})
  assert steps.sealed_steps() == [7]
  assert steps.damage(7) is None
  assert steps.note(7) == {'x': 1}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(0, 1023), flip=st.integers(1, 255))
def test_any_flipped_byte_is_found(tmp_path_factory, offset, flip):
  steps = SealedSteps(tmp_path_factory.mktemp('steps'))
  path = write_step(steps, 3) / 'a'
  content = bytearray(path.read_bytes())
  content[offset] ^= flip
  path.write_bytes(content)
  assert steps.damage(3) == f'{path} does not match its checksum'


def test_truncated_missing_and_unreadable_parts_are_named(tmp_path):
  steps = SealedSteps(tmp_path)
  for step in (1, 2, 3, 4):
    write_step(steps, step)
  (steps.path(1) / 'a').write_bytes(b'short')
  (steps.path(2) / 'deep' / 'b').unlink()
  steps.seal_path(3).write_text(steps.seal_path(3).read_text()[:100])
  assert steps.damage(1) == f'{steps.path(1) / "a"} has 5 bytes, not 1024'
  assert steps.damage(2) == f'{steps.path(2) / "deep" / "b"} is missing'
  assert steps.damage(3) == f'{steps.seal_path(3)} is not a whole checksum file'
  assert steps.damage(4) is None


def test_a_seal_of_other_json_is_damage_not_a_crash(tmp_path):
  steps = SealedSteps(tmp_path)
  write_step(steps, 1)
  for content in ([], {'files': 3}, {'files': {'a': 1}}, 'text', {}):
    steps.seal_path(1).write_text(json.dumps(content))
    assert steps.damage(1) == f'{steps.seal_path(1)} is not a whole checksum file'


def test_moving_aside_loses_nothing_and_frees_the_number(tmp_path):
  steps = SealedSteps(tmp_path)
  for _ in range(2):
    write_step(steps, 5)
    assert steps.move_aside(5)
  assert steps.all_steps() == []
  assert sorted(path.name for path in tmp_path.iterdir()) == [
    '5.damaged',
    '5.damaged.sha256.json',
    '5.damaged2',
    '5.damaged2.sha256.json',
  ]
  assert not steps.move_aside(5)
  write_step(steps, 5)
  steps.delete_aside(5)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['5', '5.sha256.json']


def test_delete_removes_folder_and_seal(tmp_path):
  steps = SealedSteps(tmp_path)
  write_step(steps, 5)
  write_step(steps, 50)
  steps.delete(5)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['50', '50.sha256.json']


def test_tidy_removes_what_killed_runs_leave_and_nothing_else(tmp_path):
  steps = SealedSteps(tmp_path)
  write_step(steps, 1)
  write_step(steps, 2)
  write_step(steps, 3, seal=False)
  (tmp_path / '4.orbax-checkpoint-tmp' / 'x').mkdir(parents=True)
  (tmp_path / '5.deleting' / 'x').mkdir(parents=True)
  (tmp_path / '6.sha256.json').write_text('{}')  # killed between the two halves of a delete
  (tmp_path / '.7.sha256-abc.tmp.json').write_text('{')
  (tmp_path / '2.damaged').mkdir()  # 2 is whole again
  (tmp_path / '3.damaged').mkdir()  # 3 is not
  (tmp_path / 'notes.txt').write_text('mine')
  steps.tidy()
  left = sorted(path.name for path in tmp_path.iterdir())
  assert left == ['1', '1.sha256.json', '2', '2.sha256.json', '3', '3.damaged', 'notes.txt']


def test_no_such_step_is_a_user_error(tmp_path):
  steps = SealedSteps(tmp_path / 'nowhere')
  assert steps.all_steps() == []
  with pytest.raises(UserError, match='no checkpoint 3'):
    steps.note(3)
