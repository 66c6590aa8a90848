"""The mean of checkpoints against numpy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.training.averaging import average_checkpoints
from mlsd_jax.training.checkpoint import Checkpoints


def test_the_mean_of_the_last(tmp_path, key):
  trees = [{'a': jax.random.normal(jax.random.fold_in(key, i), (3, 2)), 'b': {'c': jnp.full(4, i)}} for i in range(4)]
  trees = [jax.tree.map(lambda x: x.astype(jnp.float32), tree) for tree in trees]
  with Checkpoints(tmp_path / 'c', keep=4) as checkpoints:
    for step, tree in enumerate(trees):
      checkpoints.save(step, {'params': tree})
    checkpoints.wait()
    shapes = jax.eval_shape(lambda: trees[0])
    mean, steps = average_checkpoints(checkpoints, shapes, 3)
    assert steps == [1, 2, 3]
    np.testing.assert_allclose(mean['a'], np.mean([tree['a'] for tree in trees[1:]], axis=0), rtol=1e-6)
    np.testing.assert_allclose(mean['b']['c'], 2.0)
    assert average_checkpoints(checkpoints, shapes, 9)[1] == [0, 1, 2, 3]
    with pytest.raises(UserError):
      average_checkpoints(checkpoints, shapes, 0)
