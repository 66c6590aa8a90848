"""What holds of every model: shapes, finite values and gradients, who sees whom, the same with and without jit."""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized

from mlsd_jax.models import (
  bert,
  bigram,
  gpt,
  modern_gpt,
  name_models,
  partial_gpt,
  sequential,
  sparsenn,
  transformer,
  two_tower,
)

B, T, V = 2, 6, 11
TOKENS = jnp.asarray(np.stack([np.random.default_rng(row).permutation(np.arange(1, 8))[:T] for row in range(B)]))
SHAPE = dict(vocab_size=V, context_length=T, num_layers=2, num_heads=2, embed_dim=8)
NAMES = dict(vocab_size=V, length=T, embed_dim=8, hidden_dim=7, num_layers=2, num_heads=2)
BERT = bert.BertConfig(**SHAPE, mlp_dim=12)
ENCODER_DECODER = transformer.TransformerConfig(V, num_layers=2, num_heads=2, embed_dim=8, feedforward_dim=12)
SOURCE = jnp.full((B, 4), 9)
SPARSE = sparsenn.SparseNNConfig(num_dense=3, num_items=20, code_sizes=(4,), user_sizes=(3,), embed_dim=8, bag_length=5)
TOWERS = two_tower.TwoTowerConfig(
  num_items=30, code_sizes=(4,), user_sizes=(3,), embed_dim=8, history_length=T, sequence_length=4, sequence_dim=8
)


@dataclasses.dataclass(frozen=True)
class Case:
  """A model as a function of (params, inputs).

  Attributes:
    out: shape of what it gives.
    table: path of the embedding of its tokens, whose inputs are TOKENS and outputs [B, T, V]; '' for other models.
    reach: how many tokens, itself included, a position sees at most; 0 for all, later ones too.
  """

  init: Callable[[jax.Array], Any]
  apply: Callable[[Any, Any], jax.Array]
  inputs: Any
  out: tuple[int, ...]
  table: str = ''
  reach: int = T


def of_items(**options):
  config = sequential.SequentialConfig(V - 1, sequence_length=T, embed_dim=8, num_layers=2, num_heads=2, **options)
  times = jnp.broadcast_to(1000 * jnp.arange(T), (B, T))
  logits = lambda params, items: sequential.apply(params, items, times, config) @ params['item_table'].T
  return Case(lambda key: sequential.init(key, config), logits, TOKENS, (B, T, V), 'item_table')


def of_tokens(module, config, table='token_embedding', reach=T):
  apply = lambda params, tokens: module.apply(params, tokens, config)
  return Case(lambda key: module.init(key, config), apply, TOKENS, (B, T, V), table, reach)


def of_names(kind, table='embedding', reach=T, **more):
  return of_tokens(name_models, name_models.NameConfig(kind, **NAMES, **more), table, reach)


def _bert_logits(params, tokens):
  return jnp.einsum('BTD,VD->BTV', bert.apply(params, tokens, jnp.ones((B, T), bool), BERT), params['token_embedding'])


def _tower_vectors(params, history):
  ages, factors, user_codes = jnp.ones((B, T)), jnp.zeros((B, 0)), jnp.zeros((B, 1), jnp.int32)
  return two_tower.user_vectors(params, history, ages, factors, user_codes, jnp.zeros((31, 1), jnp.int32), TOWERS)


CASES = {
  'gpt': of_tokens(gpt, gpt.GPTConfig(**SHAPE)),
  'gpt_scanned': of_tokens(gpt, gpt.GPTConfig(**SHAPE, scan_layers=True, remat='full')),
  'modern': of_tokens(modern_gpt, modern_gpt.ModernGPTConfig(**SHAPE)),
  'modern_scanned': of_tokens(modern_gpt, modern_gpt.ModernGPTConfig(**SHAPE, value_residual=True, scan_layers=True)),
  'gpt_attention': of_tokens(partial_gpt, partial_gpt.PartialGPTConfig(**SHAPE, sublayers='attention')),
  'gpt_mlp': of_tokens(partial_gpt, partial_gpt.PartialGPTConfig(**SHAPE, sublayers='mlp'), reach=1),
  'bigram': of_tokens(bigram, bigram.BigramConfig(V), 'table', 1),
  'name_bigram': of_names('bigram', 'logits', 1),
  'name_mlp': of_names('mlp', reach=3),
  'name_mlp_norm': of_names('mlp', reach=4, context=4, norm=True),
  'name_wavenet': of_names('wavenet', reach=4, context=4),
  'name_rnn': of_names('rnn'),
  'name_gru': of_names('gru'),
  'name_lstm': of_names('lstm'),
  'name_bow': of_names('bow'),
  'name_transformer': of_names('transformer', 'token_embedding'),
  'transformer': Case(
    lambda key: transformer.init(key, ENCODER_DECODER),
    lambda params, tokens: transformer.apply(params, SOURCE, tokens, ENCODER_DECODER),
    TOKENS,
    (B, T, V),
    'embedding',
  ),
  'bert': Case(lambda key: bert.init(key, BERT), _bert_logits, TOKENS, (B, T, V), 'token_embedding', reach=0),
  'sparsenn': Case(
    lambda key: sparsenn.init(key, SPARSE),
    lambda params, batch: sparsenn.apply(
      params, batch, jnp.zeros((21, 1), jnp.int32), jnp.tile(jnp.linspace(0.0, 1.0, SPARSE.bins + 1), (3, 1)), SPARSE
    ),
    {
      'dense': jnp.linspace(0.1, 0.9, 6).reshape(B, 3),
      'item': jnp.array([3, 20]),
      'user_codes': jnp.array([[1], [2]]),
      'bag': jnp.array([[0, 0, 1, 2, 3], [0, 0, 0, 0, 0]]),
    },
    (B, len(sparsenn.HEADS)),
  ),
  'sasrec': of_items(block='plain'),
  'esasrec': of_items(),
  'hstu': of_items(kind='hstu'),
  'two_tower': Case(lambda key: two_tower.init(key, TOWERS), _tower_vectors, TOKENS, (B, 8 + 0 + 1)),
}
ALL = pytest.mark.parametrize('case', CASES.values(), ids=CASES)


def shaken(case: Case):
  """Parameters none of which is zero, so that no part can be silent."""
  params = jax.jit(case.init)(jax.random.key(0))
  noise = lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape)
  params = jax.tree.map(noise, params)
  return jax.tree_util.tree_map_with_path(lambda path, x: jnp.abs(x) if path[-1].key == 'variance' else x, params)


@ALL
def test_fresh_parameters_are_float32_strings_to_arrays_and_drawn_by_their_key_alone(case):
  first, second, other = (jax.jit(case.init)(jax.random.key(seed)) for seed in (0, 0, 1))
  chex.assert_trees_all_equal(first, second)
  chex.assert_tree_all_finite(first)
  chex.assert_trees_all_equal_shapes_and_dtypes(first, other, jax.eval_shape(case.init, jax.random.key(0)))
  chex.assert_type(jax.tree.leaves(first), jnp.float32)
  assert all(isinstance(each.key, str) for path, _ in jax.tree.leaves_with_path(first) for each in path)
  is_random = lambda one, two: bool((one != two).any())
  constant = ('logits',)  # a table of zeros
  assert set(first) <= set(constant) or any(jax.tree.leaves(jax.tree.map(is_random, first, other)))


@ALL
def test_outputs_and_gradients_have_their_shapes_and_are_finite(case):
  params = shaken(case)

  def loss(params):
    out = case.apply(params, case.inputs)
    return jnp.sum(out * jnp.cos(jnp.arange(out.size, dtype=out.dtype)).reshape(out.shape)), out

  grads, out = jax.jit(jax.grad(loss, has_aux=True))(params)
  chex.assert_shape(out, case.out)
  chex.assert_type(out, jnp.float32)
  chex.assert_trees_all_equal_shapes_and_dtypes(grads, params)
  chex.assert_tree_all_finite((out, grads))


@ALL
def test_other_values_of_the_same_shapes_are_not_traced_again(case):
  chex.clear_trace_counter()  # it counts by name, which these functions share
  apply = jax.jit(chex.assert_max_traces(case.apply, n=1))
  params = shaken(case)
  first = apply(params, case.inputs)
  second = apply(jax.tree.map(lambda leaf: 1.5 * leaf, params), jax.tree.map(lambda leaf: leaf + 0, case.inputs))
  chex.assert_equal_shape([first, second])
  assert not np.allclose(first, second)


@pytest.mark.parametrize('name', [name for name, case in CASES.items() if case.table])
def test_a_position_sees_its_past_as_far_as_the_model_reaches_by_gradient(name):
  """Of the logit of a token that is not in the text: its own row of a tied table is then none of the text's rows."""
  case = CASES[name]
  params = shaken(case)
  logit = lambda table: case.apply(params | {case.table: table}, case.inputs)[0, :, V - 1]
  gradient_TVD = jax.jit(jax.jacrev(logit))(params[case.table])
  chex.assert_shape(gradient_TVD, (T, V, None))
  seen_TS = np.abs(gradient_TVD[:, TOKENS[0]]).sum(-1) > 0
  place, other = np.arange(T)[:, None], np.arange(T)
  expected_TS = (other <= place) & (other > place - case.reach) if case.reach else np.ones((T, T), bool)
  np.testing.assert_array_equal(seen_TS, expected_TS)


class Variants(chex.TestCase):
  @chex.variants(without_jit=True, with_pmap=True)
  @parameterized.named_parameters(*CASES.items())
  def test_it_gives_under_jit_what_it_gives_without_and_under_pmap(self, case: Case):
    params = shaken(case)
    expected = jax.jit(case.apply)(params, case.inputs)
    chex.assert_trees_all_close(self.variant(case.apply)(params, case.inputs), expected, rtol=1e-5, atol=1e-5)
