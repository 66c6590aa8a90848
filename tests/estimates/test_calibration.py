"""Calibration: what a second layer adds, every further one does; a decoding step is its products and its attention."""

import time

import pytest

from mlsd_jax.estimates import calibration
from mlsd_jax.models import gpt

SECTION = dict(num_layers=3, num_heads=2, embed_dim=16, context_length=16)


def test_layers_are_extrapolated():
  assert calibration.Layers(5.0, 7.0).at(1) == 5.0
  assert calibration.Layers(5.0, 7.0).at(12) == 27.0


def test_memory_of_a_step_grows_by_the_same_for_every_layer():
  one, two, three = calibration.training_by_layers(SECTION, 32, beside=3, batch_size=4, dtype='float32', rounds=1)
  assert calibration.Layers(one[1], two[1]).at(3) == pytest.approx(three[1], rel=0.05)
  assert min(seconds for seconds, _ in (one, two, three)) > 0


@pytest.mark.parametrize('scanned', [False, True])
def test_a_decoding_step_and_its_pieces_are_timed(scanned):
  config = gpt.GPTConfig(vocab_size=32, context_length=16, num_layers=2, num_heads=2, embed_dim=16, scan_layers=scanned)
  for time_it in (calibration.decoding_by_products, calibration.decode_step):
    assert time_it(config, 2, 8, 'float32', rounds=1, clock=time.process_time) >= 0
