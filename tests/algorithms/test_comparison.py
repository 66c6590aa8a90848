"""Answers compared as Kattis's default validator does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.algorithms.comparison import Comparison
from mlsd_jax.errors import UserError

TOLERANT = Comparison.from_flags(['float_tolerance', '1e-6'])
CASES = [
  # flags, answer, expected, right
  ('', b'a b\n', b'a  b', True),
  ('', b'YES', b'yes', True),
  ('case_sensitive', b'YES', b'yes', False),
  ('', b'', b'', True),
  ('', b' \r\n', b'', True),
  ('', b'', b'a', False),
  ('', b'a', b'', False),
  ('', b'1.0', b'1', False),
  ('', b'\xff', b'\xff\n', True),
  ('space_change_sensitive', b'a b\n', b'a b\n', True),
  ('space_change_sensitive', b'a  b\n', b'a b\n', False),
  ('space_change_sensitive', b'a b', b'a b\n', False),
  ('space_change_sensitive', b'a b\r\n', b'a b\n', False),
  ('space_change_sensitive', b' a b\n', b'a b\n', False),
  ('float_tolerance 1e-6', b'1.0000001', b'1', True),
  ('float_tolerance 1e-6', b'1.00001', b'1', False),
  ('float_tolerance 1e-6', b'1e0', b'1.0', True),
  ('float_tolerance 1e-6', b'-0.0', b'0', True),
  ('float_tolerance 1e-6', b'nan', b'1', False),
  ('float_tolerance 1e-6', b'inf', b'1', False),
  ('float_tolerance 1e-6', b'1e400', b'1', False),
  ('float_tolerance 1e-6', b'nan', b'NaN', True),  # no numbers, so words
  ('float_tolerance 1e-6', b'1_0', b'10', False),
  ('float_tolerance 1e-6', b'x', b'10', False),
  ('float_tolerance 1e-6', b'1000000.5', b'1000000', True),
  ('float_absolute_tolerance 1e-6', b'1000000.5', b'1000000', False),
  ('float_relative_tolerance 1e-6', b'1e-9', b'0', False),
  ('float_absolute_tolerance 1e-6', b'1e-9', b'0', True),
  ('float_relative_tolerance 0.1 float_absolute_tolerance 0.1', b'11', b'10', True),
]


@pytest.mark.parametrize(('flags', 'answer', 'expected', 'right'), CASES)
def test_flags(flags, answer, expected, right):
  assert (Comparison.from_flags(flags.split())(answer, expected) is None) == right


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['loose'], "no validator flag 'loose'"),
    (['float_tolerance'], 'needs a number'),
    (['float_tolerance', 'x'], "'x'"),
  ],
)
def test_a_flag_that_cannot_be_used(flags, message):
  with pytest.raises(UserError, match=message):
    Comparison.from_flags(flags)


def test_a_difference_is_told_by_its_lines():
  difference = Comparison()(b'1 2\n\n3 4', b'1 2\n3 5\n')
  assert difference == (3, 2, "'4' where '5' is expected")
  assert Comparison()(b'', b'5').message == 'the answer is empty'
  assert Comparison()(b'5 6', b'5').message == "'6' where nothing more is expected"
  assert Comparison(exact=True)(b'ab', b'ab\n').message == "byte 2: the end where '\\n' is expected"


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_tokens_are_compared_one_by_one(mine, right):
  text = lambda numbers: b' '.join(b'%d' % number for number in numbers)
  assert (Comparison()(text(mine), text(right)) is None) == (mine == right)
  assert (TOLERANT(text(mine), text(right)) is None) == (mine == right)


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_tolerance(mine, right):
  accepted = TOLERANT(repr(mine).encode(), repr(right).encode()) is None
  assert accepted == (abs(mine - right) <= 1e-6 or abs(mine - right) <= 1e-6 * abs(right))


@pytest.mark.parametrize(
  ('answer', 'expected', 'right'),
  [
    ('[1.0000001, 2.5]', '[1.0, 2.5]', True),
    ('[1.1, 2.5]', '[1.0, 2.5]', False),
    ('(1,2.0000001)', '(1,2)', True),
    ('[1, 2.5)', '[1.0, 2.5]', False),
    ('x:0.50', 'x:0.5', True),
    ('y:0.5', 'x:0.5', False),
    ('[nan]', '[1.0]', False),
  ],
)
def test_a_tolerance_reaches_into_brackets(answer, expected, right):
  comparison = Comparison(float_absolute=1e-6)
  assert (comparison(answer.encode(), expected.encode()) is None) == right


def test_a_difference_is_shown_wherever_it_stands():
  long = 'a' * 200
  found = Comparison()(f'{long}x'.encode(), f'{long}y'.encode())
  assert "aax' where '" in found.message
  assert 'from character 201' in found.message
  assert "'6\\x00' where '6' is expected" in Comparison()(b'6\0', b'6').message


@pytest.mark.parametrize('number', ['nan', 'inf', '-1', '-inf', '1e999'])
def test_a_tolerance_is_finite_and_not_negative(number):
  with pytest.raises(UserError, match='finite number that is not negative'):
    Comparison.from_flags(['float_tolerance', number])
