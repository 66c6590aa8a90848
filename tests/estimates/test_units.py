"""Numbers with units: what is read, what is refused, and that what is shown reads back as what it was."""

import hypothesis
import hypothesis.strategies as st
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.estimates.units import parse, show


@pytest.mark.parametrize(
  ('text', 'dimension', 'value'),
  [
    ('4 KB', 'bytes', 4000),
    ('4 KiB', 'bytes', 4096),
    ('1.5GB', 'bytes', 1.5e9),
    ('2 GiB', 'bytes', 2**31),
    ('3 B', 'bytes', 3),
    ('3B', 'count', 3e9),
    ('30M', 'count', 30e6),
    ('1,000,000', 'count', 1e6),
    ('1_000', 'count', 1000),
    ('5k tokens', 'count', 5000),
    ('250 ms', 'seconds', 0.25),
    ('2 h', 'seconds', 7200),
    ('3.46 days', 'seconds', 3.46 * 86_400),
    ('500 QPS', 'rate', 500),
    ('5k QPS', 'rate', 5000),
    ('120/min', 'rate', 2),
    ('86400 requests/day', 'rate', 1),
    ('1.2M tokens/s', 'rate', 1.2e6),
    ('40%', 'share', 0.4),
    ('0.4', 'share', 0.4),
    ('$2.99', 'dollars', 2.99),
    ('$ 1.2k', 'dollars', 1200),
    ('0.86 GFLOP', 'flop', 0.86e9),
    ('1e3', 'count', 1000),
  ],
)
def test_a_text_is_a_number(text, dimension, value):
  assert parse(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
  ('text', 'dimension', 'said'),
  [
    ('5 GB', 'seconds', "'5 GB' is a size; a time, such as 200 ms is asked for"),
    ('200 ms', 'bytes', 'is a time; a size'),
    ('$5', 'count', 'is an amount of money'),
    ('5 parsecs', 'count', "in 'parsecs', which is no unit that is known"),
    ('many', 'count', 'is no number'),
    ('-3', 'count', "'-3' is below 0; a count, such as 30M is asked for"),
    ('-$3', 'dollars', 'is below 0; an amount of money'),
    ('$ -.5', 'dollars', 'is below 0'),
    ('-many', 'count', 'is no number'),
    ('', 'rate', 'is no number'),
    ('1e999', 'count', 'too large'),
    ('5 QPS', 'share', 'is a rate'),
  ],
)
def test_what_is_no_such_number_is_refused(text, dimension, said):
  with pytest.raises(UserError) as caught:
    parse(text, dimension)
  assert said in str(caught.value)


@hypothesis.given(
  st.floats(1e-8, 1e14, allow_nan=False), st.sampled_from(('bytes', 'seconds', 'count', 'share', 'dollars', 'flop'))
)
def test_what_is_shown_reads_back(value, unit):
  # Three digits are shown, of numbers below one a hundred-thousandth where a unit has no smaller step.
  if unit in ('bytes', 'flop', 'count', 'dollars'):
    value = max(value, 1.0)
  if unit == 'share':
    value = min(value, 1.0)
  assert parse(show(value, unit), unit) == pytest.approx(value, rel=6e-3, abs=6e-4 if unit == 'share' else 0.0)
