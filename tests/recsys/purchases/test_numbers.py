"""Numbers in the forms that people write them in, read with one decimal sign a column."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases import numbers


def _read(values, **known):
  rows = pl.LazyFrame({'n': values})
  found = numbers.read_numbers(rows, 'n', **known)
  return rows.select(found.value).collect()['n'].to_list(), found


@pytest.mark.parametrize(
  ('written', 'number'),
  [
    ('1.234,56', 1234.56),
    ('1,234.56', 1234.56),
    ('0,5', 0.5),
    ('0,125', 0.125),
    ('.5', 0.5),
    ('$.99', 0.99),
    ('-.99', -0.99),
    ("1'000", 1000.0),
    ('1’299.50', 1299.5),
    ('$1 200', 1200.0),
    ('1\u202f299,00', 1299.0),
    ('1,00,000.50', 100_000.5),
    ('1,234,567', 1_234_567.0),
    ('12.345.678', 12_345_678.0),
    ('1e-05', 1e-5),
    ('Rs. 250', 250.0),
    ('Rs.250', 250.0),
    ('12.50 EUR', 12.5),
    ('EUR 12.50', 12.5),
    ('2 pieces', 2.0),
    ('１２', 12.0),
    ('-3', -3.0),
    *((f'{dash}3', -3.0) for dash in '−–—‐‑‒﹣－⁻'),
    ('-£5.00', -5.0),
    ('£-5.00', -5.0),
    ('5.00-', -5.0),
    ('5.00 –', -5.0),
    ('(5.00)', -5.0),
    ('12,-', 12.0),
    ('CHF 5.–', 5.0),
  ],
)
def test_a_number_in_many_forms(written, number):
  assert _read([written])[0] == [pytest.approx(number)]


_STRANGE = (
  *('some', '-', '3 for 5', '10-20', '50%', '5k', '2 dozen', '99¢', '50p', '1.2.3', '1,234 567', '(5', '--5', 'inf'),
  *('1e400', '5 €/kg', '2x', '1/2'),
)


@pytest.mark.parametrize('text', _STRANGE)
def test_what_is_no_number_is_counted_and_shown(text):
  values, found = _read(['7', text, text, None, ''])
  assert values == [7.0, None, None, None, None]
  assert (found.unread, found.examples) == (2, (text,))


_AMOUNTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=20)
_WAYS = {'point': (',', '.'), 'comma': ('.', ','), 'space': (' ', ','), 'Swiss': ("'", '.'), 'none': ('', '.')}


@given(_AMOUNTS, st.sampled_from(list(_WAYS)), st.sampled_from(['', '$', '€ ', 'EUR ']), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_column_in_any_way_of_writing_is_what_was_written(cents, way, currency, negative):
  thousands, decimal = _WAYS[way]
  cents = [*cents, 1250]
  shown = [f'{amount / 100:,.2f}'.replace(',', 'T').replace('.', 'D') for amount in cents]
  written = [currency + text.replace('T', thousands).replace('D', decimal) for text in shown]
  # Whole amounts without their decimals, which alone would not tell what the other sign is.
  written += [text.partition(decimal)[0] for text in written]
  expected = [amount / 100 for amount in cents] + [float(amount // 100) for amount in cents]
  if negative:
    written, expected = [f'–{text}' for text in written], [-x for x in expected]
  assert _read(written)[0] == pytest.approx(expected)


@pytest.mark.parametrize('text', ['1.299', '1,299', '$12,345', '100.000', '-1.000'])
def test_what_may_be_two_numbers_is_refused_unless_the_column_tells(text):
  with pytest.raises(UserError, match='no other line tells which: say --config'):
    _read([text, '5', ''])
  point, comma = (_read([text, other])[0][0] for other in ('.5', ',5'))
  assert point != comma
  assert (_read([text], decimal='point')[0], _read([text], decimal='comma')[0]) == ([point], [comma])


def test_a_column_of_both_signs_is_refused_with_both():
  with pytest.raises(
    UserError, match=r"decimal point in some lines \('2\.5'\) and with a decimal comma in others \('3,5'\)"
  ):
    _read(['2.5', '3,5', '1.000'])
  values, found = _read(['2.5', '3,5', '1.000'], decimal='point')
  assert values == [2.5, None, 1.0]
  assert found.examples == ('3,5',)


def test_numbers_of_a_typed_column_stay_what_they_are():
  assert _read([1.299, None, float('nan'), float('inf'), -2.0])[0] == [1.299, None, None, None, -2.0]


def test_a_column_without_a_number_is_refused():
  with pytest.raises(UserError, match="n has no number that can be read, such as 'blue', 'red'"):
    _read(['red', 'blue', ''])
  assert _read(['', None])[0] == [None, None]
