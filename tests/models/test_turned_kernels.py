import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax.language_model.inspection import attention_maps
from mlsd_jax.models import gpt, modern_gpt, turned_kernels
from mlsd_jax.models.families import functions_of
from mlsd_jax.models.turned_kernels import TurnedKernel, turn_kernels

SHAPE = dict(vocab_size=61, vocab_multiple=8, context_length=32, num_layers=2, num_heads=2, embed_dim=16)
CONFIGS = [gpt.GPTConfig(**SHAPE), modern_gpt.ModernGPTConfig(**SHAPE, num_kv_heads=1)]


@pytest.mark.parametrize('rows', [1, 3, 64, 65])
@pytest.mark.parametrize('outputs', [10, 7])
def test_a_product_is_that_of_numpy(rows, outputs):
  rng = np.random.default_rng(0)
  x, matrix = (rng.standard_normal(shape, np.float32) for shape in ((rows, 24), (outputs, 24)))
  np.testing.assert_allclose(turned_kernels.multiply(x, jnp.asarray(matrix)), x @ matrix.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('tokens', [1, 5, 40])
def test_logits_are_products_with_the_rows_of_the_table(tokens):
  rng = np.random.default_rng(0)
  hidden, table = (rng.standard_normal(shape, np.float32) for shape in ((2, tokens, 16), (24, 16)))
  logits = turned_kernels.table_logits(jnp.asarray(hidden), jnp.asarray(table))
  np.testing.assert_allclose(logits, hidden @ table.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('config', CONFIGS, ids=lambda config: type(config).__name__)
def test_a_model_with_turned_kernels_is_the_same_model(config):
  functions = functions_of(config)
  params = functions.init(jax.random.key(0), config)
  params = jax.tree.map(lambda leaf: leaf + 0.1, params)  # a modern model's outputs begin at 0
  turned = turn_kernels(params)
  kernels = jax.tree.leaves(turned, is_leaf=lambda leaf: isinstance(leaf, TurnedKernel))
  assert sum(isinstance(leaf, TurnedKernel) for leaf in kernels) == len(
    [path for path, _ in jax.tree_util.tree_leaves_with_path(params) if path[-1].key == 'kernel']
  )
  tokens = jnp.arange(10).reshape(2, 5)

  def hidden(params):
    cache = functions.init_cache(config, 2, 32)
    return functions.apply_cached(params, tokens, config, cache, jnp.zeros(2, jnp.int32))[0]

  np.testing.assert_allclose(hidden(turned), hidden(params), rtol=1e-3, atol=1e-3)


def test_a_turned_kernel_keeps_its_shape_and_dtype():
  params = gpt.init(jax.random.key(0), CONFIGS[0])
  half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
  before, after = (tree['blocks']['0']['attention'] for tree in (half, turn_kernels(half)))
  for name, matrix in (('qkv', (48, 16)), ('out', (16, 16))):
    kernel = after[name]['kernel']
    assert (kernel.shape, kernel.dtype) == (before[name]['kernel'].shape, jnp.bfloat16)
    assert kernel.matrix_OI.shape == matrix


def test_a_look_inside_needs_no_other_kernels():
  params = gpt.init(jax.random.key(0), CONFIGS[0])
  maps = [attention_maps(tree, jnp.arange(10).reshape(2, 5), CONFIGS[0]) for tree in (params, turn_kernels(params))]
  np.testing.assert_allclose(*maps, rtol=1e-4, atol=1e-6)


def test_what_is_turned_already_stays():
  turned = turn_kernels(gpt.init(jax.random.key(0), CONFIGS[0]))
  assert jax.tree.structure(turn_kernels(turned)) == jax.tree.structure(turned)
