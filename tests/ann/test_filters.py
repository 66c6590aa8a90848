"""Filters against the same condition in plain Python."""

import datetime
import decimal
import math
import operator

import hypothesis
import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest

from mlsd_jax.ann import Index
from mlsd_jax.errors import UserError

DAY, MOMENT = datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 5)
UTC = datetime.UTC
COLUMNS = {
  'whole': [1, 2, None, 4],
  'small': pl.Series([1, None, -128, 127], dtype=pl.Int8),
  'unsigned': np.array([1, 2, 3, 2**64 - 1], np.uint64),
  'float': [0.5, math.nan, 2.5, None],
  'float32': np.array([0.1, 0.2, 0.3, 0.4], np.float32),
  'string': ['a', 'b', None, 'c'],
  'truth': [True, False, None, True],
  'date': [DAY, DAY + datetime.timedelta(1), None, DAY + datetime.timedelta(2)],
  'moment': [MOMENT, MOMENT + datetime.timedelta(microseconds=1), None, MOMENT],
  'zoned': [MOMENT.replace(tzinfo=UTC)] * 3 + [None],
  'milliseconds': np.array(['2020-01-01T05', '2021-01-01T00', 'NaT', '2022-01-01T00'], 'datetime64[s]'),
  'bytes': [b'a', b'b', None, b'c'],
  'duration': [datetime.timedelta(1), None, datetime.timedelta(2), datetime.timedelta(3)],
  'decimal': [decimal.Decimal('1.5'), None, decimal.Decimal('2.25'), decimal.Decimal(3)],
  'category': pl.Series(['q', 'p', 'q', None], dtype=pl.Categorical),
  'nothing': [None] * 4,
  'list': [['x'], [], ['y'], None],
}


@pytest.fixture(scope='module')
def index():
  return Index.build(np.ones((4, 2)), metadata=COLUMNS)


def rows(index, **where):
  return sorted(index.search(np.ones((1, 2)), 9, where=where).rows[0].tolist())


@pytest.mark.parametrize(
  ('column', 'wanted', 'expected'),
  [
    ('whole', {'gt': 1}, [1, 3]),
    ('whole', {'ge': 2, 'lt': 4}, [1]),
    ('whole', {'ne': 2}, [0, 3]),
    ('whole', {'ne': None}, [0, 1, 3]),
    ('whole', {'in': [1, 4, 2**80, 1.5]}, [0, 3]),
    ('whole', [4, None], [2, 3]),
    ('whole', None, [2]),
    ('whole', 2.0, [1]),
    ('whole', 2.5, []),
    ('whole', math.nan, []),
    ('whole', {'gt': 1.5}, [1, 3]),
    ('whole', {'le': 3.9}, [0, 1]),
    ('whole', {'lt': math.inf}, [0, 1, 3]),
    ('whole', {'gt': 2**90}, []),
    ('whole', [], []),
    ('whole', (value for value in (1, 2)), [0, 1]),
    ('whole', range(3), [0, 1]),
    ('whole', {1, 2}, [0, 1]),
    ('whole', np.array([1, 4]), [0, 3]),
    ('whole', np.array(4), [3]),
    ('whole', decimal.Decimal(2), [1]),
    ('small', {'gt': 300}, []),
    ('small', {'le': 300}, [0, 2, 3]),
    ('small', 300, []),
    ('unsigned', {'gt': -1}, [0, 1, 2, 3]),
    ('unsigned', {'gt': 2**63}, [3]),
    ('unsigned', 2**64 - 1, [3]),
    ('float', {'gt': 0}, [0, 2]),
    ('float', {'ne': 0.5}, [1, 2]),
    ('float', math.nan, [1]),
    ('float32', [0.1, 0.4], [0, 3]),
    ('float32', {'ge': 0.2}, [1, 2, 3]),
    ('string', {'gt': 'a'}, [1, 3]),
    ('truth', True, [0, 3]),
    ('truth', {'ne': True}, [1]),
    ('date', {'ge': DAY + datetime.timedelta(1)}, [1, 3]),
    ('date', np.datetime64('2020-01-01'), [0]),
    ('moment', {'gt': MOMENT}, [1]),
    ('zoned', {'lt': MOMENT.replace(tzinfo=UTC) + datetime.timedelta(1)}, [0, 1, 2]),
    ('milliseconds', {'le': MOMENT - datetime.timedelta(microseconds=1)}, []),
    ('milliseconds', MOMENT + datetime.timedelta(microseconds=1), []),
    ('bytes', {'le': b'b'}, [0, 1]),
    ('duration', {'gt': datetime.timedelta(1)}, [2, 3]),
    ('decimal', {'gt': 2}, [2, 3]),
    ('decimal', [1.5, decimal.Decimal('2.25')], [0, 2]),
    ('category', {'ge': 'q'}, [0, 2]),
    ('category', {'ne': 'z'}, [0, 1, 2]),
    ('nothing', 3, []),
    ('nothing', {'lt': 3}, []),
    ('nothing', None, [0, 1, 2, 3]),
  ],
)
def test_conditions(index, column, wanted, expected):
  assert rows(index, **{column: wanted}) == expected


@pytest.mark.parametrize(
  ('column', 'wanted', 'message'),
  [
    ('whole', {'$gt': 3}, r"operator '\$gt'; there are gt, ge, lt, le, ne, in"),
    ('whole', {'gte': 3}, 'there are gt, ge, lt, le, ne, in'),
    ('whole', {'ge': 1, 'between': [1, 2]}, "operator 'between'; there are"),
    ('whole', {3: 3}, 'the operator 3; there are'),
    ('whole', {}, 'its operators are gt'),
    ('whole', {'gt': [1]}, r"'gt' of column 'whole' takes one value, not \[1\]"),
    ('whole', {'in': 1}, 'takes a list of values, not 1'),
    ('string', {'in': 'ab'}, "takes a list of values, not 'ab'"),
    ('whole', {'gt': None}, 'nothing is ordered beside that'),
    ('float', {'le': math.nan}, 'nothing is ordered beside that'),
    ('whole', [1, 'a'], r"holds numbers \(Int64\), not 'a'"),
    ('whole', (value for value in (1, b'a')), "not b'a'"),
    ('whole', True, 'not True'),
    ('whole', {'gt': '3'}, "not '3'"),
    ('whole', object(), 'not <object'),
    ('string', 3, r'holds strings \(String\), not 3'),
    ('truth', 1, 'holds truth values'),
    ('truth', {'gt': False}, "no order for 'gt'"),
    ('date', '2020-01-01', 'holds dates'),
    ('date', {'lt': MOMENT}, 'holds dates'),
    ('moment', DAY, 'holds moments'),
    ('moment', MOMENT.replace(tzinfo=UTC), 'holds moments'),
    ('zoned', MOMENT, 'holds moments of a time zone'),
    ('bytes', 'a', 'holds bytes'),
    ('list', ['x'], 'only a Polars expression can look into it'),
    ('list', {'in': [['x']]}, 'only a Polars expression'),
    ('*', 1, r"no such column; there are .* and no '\*'"),
    ('^whole$', 1, 'no such column'),
  ],
)
def test_conditions_that_are_refused(index, column, wanted, message):
  with pytest.raises(UserError, match=message) as caught:
    rows(index, **{column: wanted})
  assert '\n' not in str(caught.value)


def test_a_filter_is_looked_at_where_there_is_nothing_to_filter():
  empty = Index.build(np.ones((0, 2)), metadata={'a': pl.Series([], dtype=pl.Int64)})
  for where in ({'a': 'x'}, {'b': 1}, pl.col('b') == 1, {'a': {'$gt': 1}}):
    with pytest.raises(UserError, match='where: '):
      empty.search(np.ones((1, 2)), 1, where=where)


def test_every_shard_and_what_was_added_is_filtered_by_a_generator_too():
  index = Index.build(iter([(np.ones((2, 2)), None, {'a': [1, 2]}) for _ in range(3)]))
  index.add(np.ones((2, 2)), metadata={'a': [2, 3]})
  assert rows(index, a=(value for value in (2, 3))) == [1, 3, 5, 6, 7]
  assert rows(index, a={'gt': 1, 'ne': 3}) == [1, 3, 5, 6]


NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([2**62, -(2**62), 2**70]), st.floats(-3, 3), st.floats())


@hypothesis.given(
  st.lists(st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([2**62, -(2**62)])), min_size=1, max_size=8),
  st.sampled_from(['gt', 'ge', 'lt', 'le', 'ne']),
  NUMBERS,
  st.lists(NUMBERS, max_size=4),
)
@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
def test_whole_numbers_compare_as_in_python(values, name, operand, several):
  index = Index.build(np.ones((len(values), 2)), metadata={'x': pl.Series(values, dtype=pl.Int64)})
  found = [row for row, value in enumerate(values) if value is not None and value in several]
  assert rows(index, x={'in': several}) == rows(index, x=several) == found
  if name != 'ne' and operand != operand:
    return
  expected = [row for row, value in enumerate(values) if value is not None and getattr(operator, name)(value, operand)]
  assert rows(index, x={name: operand}) == expected
