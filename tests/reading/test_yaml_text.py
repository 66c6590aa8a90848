"""YAML of others."""

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.reading import parse_yaml


def test_values_and_what_stays_text():
  text = 'a: 1\nb: [x, yes]\nc: &c {d: 2}\ne: {<<: *c, d: 3}\n'
  assert parse_yaml(text, 'here') == {'a': 1, 'b': ['x', True], 'c': {'d': 2}, 'e': {'d': 3}}
  assert parse_yaml('a: 1\nb: yes\n', 'here', plain=True) == {'a': '1', 'b': 'yes'}
  assert parse_yaml('', 'here') is None


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    ('limits: {}\nname: x\nlimits: {}\n', "the key 'limits' is there twice .*line 3"),
    ('a:\n  - b: 1\n    c: 2\n    b: 3\n', "the key 'b' is there twice .*line 4"),
    ('{a: 1, "a": 2}', "the key 'a' is there twice"),
    ('a: [', 'here is not YAML'),
    ('day: 2026-02-31', 'here is not YAML'),
    ('[' * 5000, 'here is not YAML'),
  ],
)
def test_what_is_dropped_or_cannot_be_read_is_told_in_one_line(text, said):
  with pytest.raises(UserError, match=said) as error:
    parse_yaml(text, 'here')
  assert '\n' not in str(error.value)


def test_of_a_key_that_is_there_twice_the_last_counts_where_that_is_asked_for():
  assert parse_yaml('a: 1\na: 2\n', 'here', unique=False) == {'a': 2}
