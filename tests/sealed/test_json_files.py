"""Sealed JSON: what was written is read; what was edited is told apart from what was damaged."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsd_jax import sealed
from mlsd_jax.errors import UserError

CONTENT = {'val_loss': 1.25, 'rows': [1, (2, 3)], 'name': 'é', 'none': None, 'deep': {'9': True}}


def test_what_was_written_is_read_and_the_digest_stands_last(tmp_path):
  path = tmp_path / 'result.json'
  sealed.write_json(path, CONTENT)
  assert sealed.read_json(path) == json.loads(json.dumps(CONTENT))
  assert list(json.loads(path.read_text())) == [*CONTENT, 'sha256']
  sealed.write_json(path, sealed.read_json(path) | {'more': 1})
  assert sealed.read_json(path)['more'] == 1


def test_one_without_a_digest_is_taken_as_it_is(tmp_path):
  for content in ({'a': 1}, {}):
    (tmp_path / 'old.json').write_text(json.dumps(content))
    assert sealed.read_json(tmp_path / 'old.json') == content


def test_edited_by_hand_is_told_apart_from_damaged(tmp_path):
  path = tmp_path / 'config.json'
  sealed.write_json(path, CONTENT)
  text = path.read_text()
  path.write_text(text.replace('1.25', '1.20'))
  with pytest.raises(UserError, match=r'config\.json was edited by hand: .* delete its key "sha256"'):
    sealed.read_json(path)
  path.write_text(json.dumps({key: item for key, item in json.loads(path.read_text()).items() if key != 'sha256'}))
  assert sealed.read_json(path)['val_loss'] == 1.2
  for broken in (text[:40], text.replace(':', ';', 1), '[1]'):
    path.write_text(broken)
    with pytest.raises(UserError, match=r'config\.json .*damaged'):
      sealed.read_json(path)
  path.unlink()
  with pytest.raises(UserError, match='no such file'):
    sealed.read_json(path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 0.9999), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path, place, bit):
  path = tmp_path / 'result.json'
  sealed.write_json(path, CONTENT)
  content = bytearray(path.read_bytes())
  content[int(place * len(content))] ^= 1 << bit
  path.write_bytes(content)
  try:
    found, said = sealed.read_json(path), ''
  except UserError as error:
    found, said = None, str(error)
  assert found == json.loads(json.dumps(CONTENT)) or 'damaged' in said or 'edited by hand' in said


@pytest.mark.parametrize(('value', 'name'), [(float('nan'), 'a.1 is nan'), (float('-inf'), 'a.1 is -inf')])
def test_numbers_that_json_has_not_are_refused_by_name(tmp_path, value, name):
  with pytest.raises(UserError, match=rf'result\.json is not written: {name}, and JSON has no such number'):
    sealed.write_json(tmp_path / 'result.json', {'a': (1, value)})
  assert not list(tmp_path.iterdir())
