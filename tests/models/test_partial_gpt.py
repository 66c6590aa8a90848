"""A partial GPT is a whole one whose other sublayer adds nothing."""

import chex
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.models import gpt, partial_gpt
from mlsd_jax.models.partial_gpt import PartialGPTConfig

SHAPE = dict(vocab_size=61, context_length=16, num_layers=2, num_heads=2, embed_dim=16)
TOKENS = np.random.default_rng(3).integers(0, 61, (2, 12)).astype(np.int32)


def silence(params, absent):
  """`params` of a whole GPT with zeros in the last layer of each block's sublayer `absent`."""
  last = {'mlp': 'down', 'attention': 'out'}[absent]
  is_silent = lambda path: f'/{absent}/{last}/' in path
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  flat = {path: jnp.zeros_like(leaf) if is_silent(path) else leaf for path, leaf in flat.items()}
  return flax.traverse_util.unflatten_dict(flat, sep='/')


@pytest.fixture(params=partial_gpt.SUBLAYERS)
def partial(request, key):
  """(config, params, logits) of a partial GPT, the logits as a whole one gives them."""
  config = PartialGPTConfig(**SHAPE, sublayers=request.param)
  whole = gpt.GPTConfig(**SHAPE)
  noise = lambda leaf: leaf + 0.2 * np.random.default_rng(2).standard_normal(leaf.shape, np.float32)
  params = jax.tree.map(noise, gpt.init(key, whole))
  absent = {'attention': 'mlp', 'mlp': 'attention'}[request.param]
  flat = flax.traverse_util.flatten_dict(params, sep='/')
  paths = flax.traverse_util.flatten_dict(jax.eval_shape(lambda: partial_gpt.init(key, config)), sep='/')
  kept = flax.traverse_util.unflatten_dict({path: flat[path] for path in paths}, sep='/')
  return config, kept, gpt.apply(silence(params, absent), TOKENS, whole)


def test_logits_are_those_of_a_whole_gpt_whose_other_sublayer_adds_nothing(partial):
  config, params, expected = partial
  chex.assert_trees_all_close(partial_gpt.apply(params, TOKENS, config), expected, atol=1e-5)


def test_cached_decoding_equals_the_whole_sequence(partial):
  config, params, expected = partial
  cache = gpt.init_cache(config, 2, 16)
  hidden, cache = partial_gpt.apply_cached(params, TOKENS[:, :5], config, cache, jnp.zeros(2, jnp.int32))
  chex.assert_trees_all_close(partial_gpt.head(params, hidden, config), expected[:, :5], atol=1e-5)
  hidden, _ = partial_gpt.apply_cached(params, TOKENS[:, 5:6], config, cache, jnp.full(2, 5))
  chex.assert_trees_all_close(partial_gpt.head(params, hidden, config), expected[:, 5:6], atol=1e-5)


# Sums of absolute values of fresh parameters while the two were options of GPTConfig: the draws are the same, and so
# are the paths, by which checkpoints of that time are restored.
@pytest.mark.parametrize(
  ('sublayers', 'inner', 'total'),
  [('attention', {'norm_1', 'attention'}, 96.84085881710052), ('mlp', {'norm_2', 'mlp'}, 117.39959669113159)],
)
def test_fresh_parameters_are_where_and_what_they_were(key, sublayers, inner, total):
  params = partial_gpt.init(key, PartialGPTConfig(**SHAPE, sublayers=sublayers))
  assert set(params) == {'token_embedding', 'position_embedding', 'blocks', 'final_norm'}
  assert {name: set(block) for name, block in params['blocks'].items()} == {'0': inner, '1': inner}
  assert sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(params)) == pytest.approx(total, rel=1e-6)


def test_flops_of_both_halves_are_those_of_the_whole():
  halves = [PartialGPTConfig(**SHAPE, sublayers=name) for name in partial_gpt.SUBLAYERS]
  head = 6 * SHAPE['vocab_size'] * SHAPE['embed_dim']
  together = sum(partial_gpt.flops_per_token(config, 16) for config in halves)
  assert together == gpt.flops_per_token(gpt.GPTConfig(**SHAPE), 16) + head


@pytest.mark.parametrize(
  ('wrong', 'says'), [({'sublayers': 'both'}, 'attention, mlp'), ({'scan_layers': True}, 'unrolled')]
)
def test_what_is_not_partial_is_refused(wrong, says):
  with pytest.raises(ValueError, match=says):
    PartialGPTConfig(**SHAPE, **wrong)
