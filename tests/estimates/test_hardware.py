"""What --hardware may be called."""

import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.estimates import hardware


@pytest.mark.parametrize(
  ('spec', 'devices'),
  [
    ('8xh100', (8, 'h100')),
    (' 8 x H100 ', (8, 'h100')),
    ('h100', (1, 'h100')),
    ('here', (1, 'here')),
    ('16xv5e', (16, 'v5e')),
    ('v5e:4x4', (16, 'v5e')),
    ('V5P:2x2x4', (16, 'v5p')),
  ],
)
def test_a_number_of_devices_or_a_topology(spec, devices):
  assert hardware.split(spec) == devices


@pytest.mark.parametrize('spec', ['', '8', 'x', '8x', 'v5e:', 'v5e:4', 'v5e:4x', 'v9:4x4', 'v5e:-1x4'])
def test_what_is_neither_is_told_in_one_line(spec):
  with pytest.raises(UserError, match='is unknown; it is a number and a device') as told:
    hardware.split(spec)
  assert '\n' not in str(told.value)


@pytest.mark.parametrize('spec', ['99999999999999999999xh100', '1000001xv5e', 'v5e:99999x99999', '9' * 5000 + 'xh100'])
def test_an_absurd_number_of_devices_is_refused(spec):
  with pytest.raises(UserError, match='estimates are made for at most 1,000,000 devices') as told:
    hardware.split(spec)
  assert len(str(told.value)) < 200


def test_a_topology_of_a_gpu_is_told_what_is_taken():
  with pytest.raises(
    UserError, match='h100 is a GPU, of which there is a number, such as 8xh100; only TPUs have a top'
  ):
    hardware.split('h100:2x2')
