"""Sequential recommenders: HSTU's attention against a loop; the future, padding and its side change nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import hstu, sequential
from mlsd_jax.models.sequential import SequentialConfig

ITEMS, T = 30, 7
SMALL = SequentialConfig(ITEMS, sequence_length=T, embed_dim=8, num_layers=2, num_heads=2, dropout=0.0)
CONFIGS = {
  'plain': dataclasses.replace(SMALL, block='plain'),
  'ligr': SMALL,
  'hstu': dataclasses.replace(SMALL, kind='hstu'),
}
EACH = pytest.mark.parametrize('config', CONFIGS.values(), ids=CONFIGS)
RNG = np.random.default_rng(0)
HISTORY = RNG.integers(1, ITEMS + 1, (3, T)).astype(np.int32)
TIMES = np.cumsum(RNG.integers(1, 90_000, (3, T)), axis=1).astype(np.int32)


def shaken(config):
  """Parameters none of which is zero, so that no part can be silent."""
  params = sequential.init(jax.random.key(0), config)
  return jax.tree.map(lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params)


def states(config, history=HISTORY, times=TIMES):
  return np.asarray(sequential.apply(shaken(config), jnp.asarray(history), jnp.asarray(times), config))


def test_hstu_attention_against_a_loop():
  queries, keys, heads, width, length = 4, 5, 2, 3, 9
  q, k, v = (RNG.normal(size=(2, n, heads, width)).astype(np.float32) for n in (queries, keys, keys))
  bias = RNG.normal(size=(2, heads, queries, keys)).astype(np.float32)
  mask = RNG.random((2, queries, keys)) < 0.6
  expected = np.zeros((2, queries, heads, width))
  for b in range(2):
    for t in range(queries):
      for h in range(heads):
        for s in np.flatnonzero(mask[b, t]):
          score = float(q[b, t, h] @ k[b, s, h]) + bias[b, h, t, s]
          expected[b, t, h] += score / (1 + np.exp(-score)) * v[b, s, h] / length
  np.testing.assert_allclose(hstu.attend(q, k, v, bias, jnp.asarray(mask), length), expected, rtol=1e-4, atol=1e-6)


def test_times_fall_into_buckets_by_their_logarithm():
  times = jnp.asarray([[0, 1, 3, 100, 2**31 - 1]], jnp.int32)
  np.testing.assert_array_equal(hstu.bucket_times(times)[0, :, 0], [0, 1, 2, 6, 30])
  np.testing.assert_array_equal(hstu.bucket_times(times)[0, 0], [0] * 5)


@EACH
def test_a_later_item_changes_nothing_before_it(config):
  history, times = HISTORY.copy(), TIMES.copy()
  history[:, 4:], times[:, 4:] = 1 + history[:, 4:] % ITEMS, times[:, 4:] + 1000
  before, after = states(config), states(config, history, times)
  np.testing.assert_array_equal(before[:, :4], after[:, :4])
  assert (np.abs(before[:, 4:] - after[:, 4:]).max(-1) > 1e-4).all()


@EACH
def test_padding_changes_nothing_wherever_it_stands(config):
  long = dataclasses.replace(config, sequence_length=T + 4)
  params = shaken(long)
  run = lambda history, times: np.asarray(sequential.apply(params, jnp.asarray(history), jnp.asarray(times), long))
  alone = run(HISTORY, TIMES)
  for left, right in ((4, 0), (0, 4), (2, 2)):
    widths = ((0, 0), (left, right))
    history, times = np.pad(HISTORY, widths, constant_values=-1), np.pad(TIMES, widths, constant_values=77)
    found = run(history, times)
    np.testing.assert_allclose(found[:, left : left + T], alone, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(np.delete(found, np.s_[left : left + T], 1), 0)
    last = sequential.read_last(jnp.asarray(found), jnp.asarray(history))
    np.testing.assert_allclose(last, alone[:, -1], rtol=1e-5, atol=1e-5)


@EACH
def test_rows_that_were_looked_up_give_the_same(config):
  params = shaken(config)
  rows = params['item_table'][HISTORY]
  without = params | {'item_table': jnp.zeros((1, 8))}
  found = sequential.apply_to_rows(without, rows, jnp.asarray(HISTORY), jnp.asarray(TIMES), config)
  np.testing.assert_allclose(found, states(config), rtol=1e-5, atol=1e-6)


def test_only_hstu_reads_times():
  for name, config in CONFIGS.items():
    moved = states(config, times=TIMES * 7)
    assert np.allclose(moved, states(config)) == (name != 'hstu')


def test_nothing_is_known_of_an_empty_history_and_new_items_share_row_0():
  history = np.full((1, T), -1, np.int32)
  np.testing.assert_array_equal(states(SMALL, history, TIMES[:1]), 0)
  new, other = (np.full((1, T), item, np.int32) for item in (ITEMS + 1, 0))
  np.testing.assert_array_equal(states(SMALL, new, TIMES[:1]), states(SMALL, other, TIMES[:1]))


@EACH
def test_dropout_is_drawn_by_its_key(config):
  config = dataclasses.replace(config, dropout=0.5)
  params = shaken(config)
  run = lambda seed: sequential.apply(params, HISTORY, TIMES, config, key=seed and jax.random.key(seed))
  assert np.allclose(run(1), run(1))
  assert not np.allclose(run(1), run(2))
  assert not np.allclose(run(1), run(None))


def test_a_table_is_filled_up_and_a_history_that_is_too_long_refused():
  config = dataclasses.replace(SMALL, rows_multiple=8)
  params = sequential.init(jax.random.key(0), config)
  assert params['item_table'].shape == (32, 8)
  assert sequential.item_vectors(params, config).shape == (ITEMS, 8)
  with pytest.raises(ValueError, match='longer than sequence_length'):
    sequential.apply(params, jnp.ones((1, T + 1), jnp.int32), jnp.zeros((1, T + 1), jnp.int32), config)
