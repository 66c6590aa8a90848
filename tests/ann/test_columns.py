"""What may enter a metadata column: every value comes back as it was given, or is refused in one line."""

import datetime
import decimal

import hypothesis
import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest

from mlsd_jax.ann import Index
from mlsd_jax.errors import UserError

DAY, MOMENT = datetime.date(2020, 1, 1), datetime.datetime(2020, 1, 1, 5)
UTC = datetime.UTC
ONE = {
  'whole': [1],
  'small': np.array([1], np.int8),
  'unsigned': np.array([1], np.uint64),
  'float': [0.5],
  'float32': np.array([0.5], np.float32),
  'string': ['a'],
  'truth': [True],
  'date': [DAY],
  'moment': [MOMENT],
  'zoned': [MOMENT.replace(tzinfo=UTC)],
  'milliseconds': np.array(['2020-01-01T00'], 'datetime64[s]'),
  'bytes': [b'a'],
  'duration': [datetime.timedelta(1)],
  'decimal': [decimal.Decimal('1.25')],
  'category': pl.Series(['a'], dtype=pl.Categorical),
  'list': [['a']],
  'pair': np.ones((1, 2)),
  'nothing': [None],
}


def add(column, values):
  index = Index.build(np.ones((1, 2)), metadata={'x': ONE[column]})
  index.add(np.ones((len(values), 2)), metadata={'x': values})
  return index._state.delta.metadata['x'].to_list()


@pytest.mark.parametrize(
  ('column', 'values', 'stored'),
  [
    ('whole', [2.0, None], [2, None]),
    ('whole', np.array([3], np.int8), [3]),
    ('small', [-128, 127], [-128, 127]),
    ('unsigned', [2**64 - 1], [2**64 - 1]),
    ('float', [1, 2**53], [1.0, 2.0**53]),
    ('float32', [0.25, 3], [0.25, 3.0]),
    ('string', pl.Series(['q'], dtype=pl.Categorical), ['q']),
    ('moment', np.array(['2020-01-01'], 'datetime64[s]'), [datetime.datetime(2020, 1, 1)]),
    ('decimal', [decimal.Decimal('0.75')], [decimal.Decimal('0.75')]),
    ('decimal', [2], [2]),
    ('list', [['b', 'c'], []], [['b', 'c'], []]),
    ('category', ['new'], ['new']),
    ('nothing', [None], [None]),
  ],
)
def test_values_that_a_column_can_hold(column, values, stored):
  assert add(column, values) == stored


@pytest.mark.parametrize(
  ('column', 'value'),
  [
    *(
      ('whole', value)
      for value in (2.7, np.nan, np.inf, True, '2', b'2', DAY, MOMENT, 2**63, [1], decimal.Decimal('.5'))
    ),
    *(('small', value) for value in (300, -129, 0.5)),
    *(('unsigned', value) for value in (-1, 2**64)),
    *(('float', value) for value in (2**53 + 1, True, '1', DAY)),
    *(('float32', value) for value in (0.1, 1e300, 2**24 + 1)),
    *(('string', value) for value in (3, b'a', True, DAY, ['a'])),
    *(('truth', value) for value in (1, 0.0, 'True')),
    *(('date', value) for value in (MOMENT, '2020-01-01', 18_262, datetime.datetime(2020, 1, 1))),
    *(('moment', value) for value in (DAY, MOMENT.replace(tzinfo=UTC), '2020-01-01', 0)),
    ('moment', np.datetime64('2020-01-01T00:00:00.0000001')),
    ('zoned', MOMENT),
    ('milliseconds', MOMENT + datetime.timedelta(microseconds=1)),
    ('bytes', 'a'),
    ('duration', 3),
    *(('decimal', value) for value in (decimal.Decimal('1.255'), 1.25, 562949953421313.0)),
    ('category', 1),
    *(('list', value) for value in ([1], 'a')),
    *(('pair', value) for value in ([1.0], ['a', 'b'])),
    ('nothing', 3),
  ],
)
def test_no_value_is_cast(column, value):
  values = np.array([value]) if isinstance(value, np.datetime64) else [value]
  with pytest.raises(UserError, match=r"^metadata: column 'x' of the index holds .* is none that it can hold$"):
    add(column, values)


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ([1, True], r'holds numbers and truth values \(1, True\); a column is of one kind'),
    ([True, 1], 'numbers and truth values'),
    ([1, 'a'], 'numbers and strings'),
    ([DAY, MOMENT], 'dates and moments'),
    ([MOMENT, MOMENT.replace(tzinfo=UTC)], 'moments and moments of a time zone'),
    ([[1], [True]], 'numbers and truth values'),
    ([[1], 2], 'lists and numbers'),
    ([0.5, 2**60 + 1], 'the nearest 64-bit float'),
    ([{'a': 1}, {'b': 1}], 'holds records .* make each field a column'),
    ([object(), object()], 'Python objects'),
    (['\ud800', 'a'], 'half a surrogate pair'),
    ('ab', "the one value 'ab'"),
    (5, 'the one value 5'),
    (None, 'the one value None'),
    (np.array(5), 'the one value'),
    ({1, 2}, 'a set, which has no order'),
    (np.array(['10000000', '2000'], 'datetime64[Y]'), 'that no column can hold'),
  ],
)
def test_columns_that_are_refused(values, message):
  with pytest.raises(UserError, match=message) as caught:
    Index.build(np.ones((2, 2)), metadata={'x': values})
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  'values', [[1, 2.5], [2.5, 1], [[1], [2.5, None]], [np.float32(0.1), 1], np.array([1, None], object)]
)
def test_numbers_together_keep_their_values(values):
  index = Index.build(np.ones((2, 2)), metadata={'x': values})
  assert index._state.segments[0].metadata['x'].to_list() == list(values)


@pytest.mark.parametrize('metadata', [[1, 2], 'ab', 5, pl.DataFrame({'x': [1, 2]}).lazy(), {1: [1, 2]}])
def test_tables_that_are_refused(metadata):
  with pytest.raises(UserError, match=r'^metadata: the column name 1 is no string|^metadata is no table'):
    Index.build(np.ones((2, 2)), metadata=metadata)


@hypothesis.given(
  st.sampled_from(list(ONE)),
  st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.binary(max_size=3),
    st.dates(), st.datetimes(), st.times(), st.timedeltas(),
    st.decimals(allow_nan=False, places=3, max_value=99, min_value=0), st.lists(st.integers(-3, 3), max_size=2),
  ),
)  # fmt: skip
@hypothesis.settings(max_examples=150, deadline=None, derandomize=True)
def test_what_is_added_is_equal_or_refused(column, value):
  try:
    (stored,) = add(column, [value])
  except UserError as error:
    assert '\n' not in str(error)  # noqa: PT017 - either is right
  else:
    assert stored == value or (stored != stored and value != value)
    assert isinstance(stored, bool) == isinstance(value, bool)
    assert isinstance(stored, str) == isinstance(value, str)


def test_a_value_that_is_refused_adds_nothing(tmp_path):
  index = Index.build(np.ones((1, 2)), metadata={'x': [1]}, folder=tmp_path)
  with pytest.raises(UserError, match=r'2\.7 is none'):
    index.add(np.ones((2, 2)), metadata={'x': [2, 2.7]})
  with pytest.raises(UserError, match=r'2\.7 is none'):
    index.replace(np.ones((1, 2)), [0], metadata={'x': [2.7]})
  with pytest.raises(UserError, match=r'2\.7 is none'):
    Index.build(iter([(np.ones((1, 2)), None, {'x': [1]}), (np.ones((1, 2)), None, {'x': [2.7]})]))
  assert len(index) == len(Index.open(tmp_path)) == 1
