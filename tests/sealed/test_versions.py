import json
import pathlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.sealed import Versions


def write_step(steps: Versions, step: int, seal: bool = True) -> pathlib.Path:
  folder = steps.path(step)
  (folder / 'deep').mkdir(parents=True)
  (folder / 'a').write_bytes(bytes(range(256)) * 4)
  (folder / 'deep' / 'b').write_bytes(b'step %d' % step)
  if seal:
    steps.seal(step, {'number': step})
  return folder


def test_a_step_counts_from_its_seal_on(tmp_path):
  steps = Versions(tmp_path)
  write_step(steps, 7, seal=False)
  assert steps.numbers() == [7]
  assert steps.sealed_numbers() == []
  assert '7.sha256.json is missing' in steps.damage(7)
  steps.seal(7, {'x': 1})
  assert steps.sealed_numbers() == [7]
  assert steps.damage(7) is None
  assert steps.note(7) == {'x': 1}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(0, 1023), flip=st.integers(1, 255))
def test_any_flipped_byte_is_found(tmp_path_factory, offset, flip):
  steps = Versions(tmp_path_factory.mktemp('steps'))
  path = write_step(steps, 3) / 'a'
  content = bytearray(path.read_bytes())
  content[offset] ^= flip
  path.write_bytes(content)
  assert steps.damage(3) == f'{path} does not match its checksum'


def test_truncated_missing_and_unreadable_parts_are_named(tmp_path):
  steps = Versions(tmp_path)
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
  steps = Versions(tmp_path)
  write_step(steps, 1)
  for content in ([], {'files': 3}, {'files': {'a': 1}}, 'text', {}):
    steps.seal_path(1).write_text(json.dumps(content))
    assert steps.damage(1) == f'{steps.seal_path(1)} is not a whole checksum file'


def test_moving_aside_loses_nothing_and_frees_the_number(tmp_path):
  steps = Versions(tmp_path)
  for _ in range(2):
    write_step(steps, 5)
    assert steps.move_aside(5)
  assert steps.numbers() == []
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
  steps = Versions(tmp_path)
  write_step(steps, 5)
  write_step(steps, 50)
  steps.delete(5)
  assert sorted(path.name for path in tmp_path.iterdir()) == ['50', '50.sha256.json']


def test_tidy_removes_what_killed_runs_leave_and_nothing_else(tmp_path):
  steps = Versions(tmp_path)
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
  steps.tidy('*.orbax-checkpoint-tmp*')
  left = sorted(path.name for path in tmp_path.iterdir())
  assert left == ['1', '1.sha256.json', '2', '2.sha256.json', '3', '3.damaged', 'notes.txt']


def test_no_such_step_is_a_user_error(tmp_path):
  steps = Versions(tmp_path / 'nowhere')
  assert steps.numbers() == []
  with pytest.raises(UserError, match='no version 3'):
    steps.note(3)


def write_version(versions: Versions, name: str, text: str) -> None:
  with versions.write(name, {'text': text}) as folder:
    (folder / 'deep').mkdir()
    (folder / 'deep' / 'text').write_text(text)
    (folder / 'other').write_bytes(bytes(2000))


def read_version(versions: Versions) -> tuple[str, str]:
  name = versions.current(remedy='write again')
  return (versions.path(name) / 'deep' / 'text').read_text(), versions.note(name)['text']


def test_the_newest_version_counts_and_the_one_before_stays(tmp_path):
  versions = Versions(tmp_path / 'versions')
  assert not versions.has_current()
  for number in range(4):
    write_version(versions, f'v{number}', str(number))
    assert read_version(versions) == (str(number), str(number))
  assert versions.sealed() == ['v3', 'v2']
  assert versions.fresh('v3') == 'v3-2'
  assert sorted(path.name for path in versions.folder.iterdir()) == [
    *('current.json', 'v2', 'v2.sha256.json', 'v3', 'v3.sha256.json')
  ]


def test_every_flip_falls_back_with_the_file_named(tmp_path, check_flips):
  versions = Versions(tmp_path)
  write_version(versions, 'v0', 'a')
  write_version(versions, 'v1', 'b')
  noticed = set(check_flips(tmp_path, lambda: read_version(versions)))
  assert noticed >= {'current.json', 'v1.sha256.json', 'v1/deep/text', 'v1/other'}


def test_without_a_whole_version_it_is_one_line(tmp_path):
  versions = Versions(tmp_path)
  write_version(versions, 'v0', 'a')
  (tmp_path / 'v0' / 'other').unlink()
  for options in ({}, {'older': False}):
    with pytest.raises(UserError, match=r'v0/other is missing.*: write again'):
      versions.current(remedy='write again', **options)
  versions.seal_path('v0').unlink()
  with pytest.raises(UserError, match='by an earlier release, without checksums, or is damaged: write again'):
    versions.current(remedy='write again')


def test_a_writer_that_fails_leaves_the_version_before(tmp_path):
  versions = Versions(tmp_path)
  write_version(versions, 'v0', 'a')
  with pytest.raises(ZeroDivisionError), versions.write('v1', {}) as folder:
    (folder / 'half').write_text(str(1 // 0))
  with pytest.raises(FileNotFoundError, match='has no files'), versions.write('v1', {}):
    pass
  assert read_version(versions) == ('a', 'a')
  assert sorted(path.name for path in tmp_path.iterdir()) == ['current.json', 'v0', 'v0.sha256.json']


def write_numbered(versions, number):
  with versions.write(f'v{number}', {'number': number}) as folder:
    for name in ('a', 'b'):
      (folder / name).write_text(str(number))


@pytest.mark.parametrize('moment', ['check', 'a', 'b'])
def test_a_reader_overtaken_by_two_updates_opens_what_counts_by_then(tmp_path, moment):
  versions, warnings = Versions(tmp_path), []
  write_numbered(versions, 1)
  moments = []

  def at(name):
    moments.append(name)
    if moments.count(name) == 1 and name == moment:
      write_numbered(versions, 2)
      write_numbered(versions, 3)

  def read(folder, note):
    found = [note['number']]
    for name in ('a', 'b'):
      at(name)
      found.append(int((folder / name).read_text()))
    return found

  besides = lambda folder: at('check') or (None if folder.exists() else f'{folder} is gone')
  assert versions.open(read, remedy='build again', besides=besides, warn=warnings.append) == [3, 3, 3]
  assert not warnings


def test_what_cannot_be_opened_is_tried_once(tmp_path):
  versions, tried = Versions(tmp_path), []
  write_numbered(versions, 1)

  def refuse(folder, note):
    tried.append(folder)
    raise UserError('of another kind')

  with pytest.raises(UserError, match='of another kind'):
    versions.open(refuse, remedy='build again')
  assert len(tried) == 1


def test_seals_deleted_while_they_are_listed_do_not_count(tmp_path, monkeypatch):
  versions = Versions(tmp_path)
  write_numbered(versions, 1)
  listed = [*tmp_path.glob('*.sha256.json'), tmp_path / 'v0.sha256.json']
  monkeypatch.setattr(pathlib.Path, 'glob', lambda path, pattern: iter(listed))
  assert versions.sealed() == ['v1']
