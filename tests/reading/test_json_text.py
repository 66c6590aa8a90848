"""JSON of any depth and size is a value or one line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.reading import json_text, text

VALUES = st.recursive(
  st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
  lambda part: st.lists(part) | st.dictionaries(st.text(), part),
  max_leaves=8,
)


@given(VALUES)
def test_what_is_written_is_read(value):
  assert reading.parse_json(json.dumps(value), 'here', unique=True) == value


@pytest.mark.parametrize(('open_', 'close'), ['[]', ('{"a":', '}')])
def test_depth(open_, close):
  nested = lambda depth: open_ * depth + '1' * (open_ != '[') + close * depth
  reading.parse_json(nested(json_text.JSON_DEPTH), 'here')
  for depth in (json_text.JSON_DEPTH + 1, 5_000, 200_000):
    for given_ in (nested(depth), nested(depth).encode(), open_ * depth):
      with pytest.raises(UserError, match=r'^here: n'):  # nested too deeply; cut short and shallow: not JSON
        reading.parse_json(given_, 'here')


@pytest.mark.parametrize(
  ('content', 'why'),
  [
    (b'[' * 200_000, 'nested more than'),
    (b'1' * 10_000, 'too many digits'),
    (b'{"a": ', 'not JSON'),
    (b'{\n"a": x}', 'at line 2, column 6'),
    (b'"\xff"', 'not UTF-8'),
    (b' ' * 2000 + b'1', 'too long'),
    (b'', 'not JSON'),
  ],
)
def test_a_bad_file_is_one_line(tmp_path, monkeypatch, content, why):
  path = tmp_path / 'a.json'
  path.write_bytes(content)
  if why == 'too long':
    monkeypatch.setattr(text.read_text, '__defaults__', (1000,))
  with pytest.raises(UserError, match=why) as caught:
    reading.read_json(path)
  assert str(path) in str(caught.value)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'utf-32'])
def test_a_byte_order_mark_says_how_json_is_encoded(tmp_path, encoding):
  (tmp_path / 'a.json').write_text('{"a": "é"}', encoding=encoding)
  assert reading.read_json(tmp_path / 'a.json') == {'a': 'é'}


def test_a_key_that_is_there_twice_is_named_where_that_matters(tmp_path):
  assert reading.parse_json('{"a": 1, "a": 2}', 'here') == {'a': 2}
  with pytest.raises(UserError, match="here: the key 'a' is there twice"):
    reading.parse_json('[{"b": 1, "a": 1, "a": 2}]', 'here', unique=True)


def test_good_lines_behind_a_bad_one_are_read(tmp_path):
  path = tmp_path / 'a.jsonl'
  path.write_bytes(b'{"a": 1}\n\n{\n"\xff"\n' + b'[' * 200_000 + b'\n2\n')
  numbered = list(reading.json_lines(path))
  assert [number for number, _ in numbered] == [1, 3, 4, 5, 6]
  assert [value for _, value in numbered if not isinstance(value, UserError)] == [{'a': 1}, 2]
  with pytest.raises(UserError, match='line 3: not JSON'):
    list(reading.strict(reading.json_lines(path)))
