"""What an evaluation makes of numbers that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.data.batches import padded
from mlsd_jax.errors import UserError
from mlsd_jax.training import sharding
from mlsd_jax.training.evaluation import evaluate


def of(values, weights):
  data = padded({'value': np.array(values, np.float32), 'weight': np.array(weights, np.float32)}, 2)
  sums = lambda _, batch: (
    jnp.sum(batch['value'] * batch['weight'] * batch['weights']),
    jnp.sum(batch['weight'] * batch['weights']),
  )
  step = lambda params, batch: {'loss': sums(params, batch), 'other': (jnp.zeros(()), jnp.zeros(()))}
  return evaluate(step, None, data, 2, sharding.make_mesh({'data': 1}, jax.devices()[:1]))


def test_a_mean_over_what_counts():
  found = of([1, 2, 6], [1, 1, 2])
  assert found['loss'] == 3.75
  assert np.isnan(found['other'])  # of which there was none


@pytest.mark.parametrize('bad', [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_no_number_is_an_error(bad):
  with pytest.raises(UserError, match=rf'^the loss on the evaluation data is {bad}: the model or the data hold'):
    of([1, bad, 2], [1, 1, 1])


def test_nothing_that_counts_is_an_error():
  with pytest.raises(UserError, match='there is nothing to evaluate'):
    of([1, 2], [0, 0])
