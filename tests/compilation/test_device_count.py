"""A number of devices is read in no time, however many digits it has."""

import hypothesis
import hypothesis.strategies as st
import pytest

from mlsd_jax.compilation.device_count import count_devices
from mlsd_jax.errors import UserError


@hypothesis.given(st.lists(st.integers(0, 2000), min_size=1, max_size=3), st.integers(0, 3), st.integers(1, 10**7))
def test_the_count_is_the_product_up_to_the_most(sides, zeros, most):
  product = 1
  for side in sides:
    product *= side
  written = ['0' * zeros + str(side) for side in sides]
  if product <= most:
    assert count_devices('name', written, most, 'work is done') == product
  else:
    with pytest.raises(UserError, match=f'--hardware=name: work is done for at most {most:,} devices'):
      count_devices('name', written, most, 'work is done')


@pytest.mark.parametrize('sides', [['9' * 100_000], ['1', '8' * 100_000], ['0' * 100_000 + '12']])
def test_thousands_of_digits_are_not_read_and_not_shown(sides):
  name = 'x'.join(sides)
  if sides[-1].endswith('12'):
    assert count_devices(name, sides, 100, 'work is done') == 12
    return
  with pytest.raises(UserError) as told:
    count_devices(name, sides, 100, 'work is done')
  assert len(str(told.value)) < 200
