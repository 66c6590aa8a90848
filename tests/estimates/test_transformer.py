"""Parameters, operations and shards by formula equal those of the models, the trainer's FLOPs and its rule tables."""

import dataclasses
import importlib
import math
import pathlib

import jax
import numpy as np
import pytest

from configs.gpt2 import _modern
from experiments import estimate_systems
from mlsd_jax.estimates import training, transformer
from mlsd_jax.language_model.rungs import read_model
from mlsd_jax.language_model.task import GPT_RULES
from mlsd_jax.models import bert, families, gpt, partial_gpt
from mlsd_jax.models import transformer as encoder_decoder
from mlsd_jax.training import optimizers, sharding

CONFIGS = sorted(path.stem for path in pathlib.Path('configs/gpt2').glob('[!_]*.py'))


def count(init, config):
  return sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(lambda key: init(key, config), jax.random.key(0))))


@pytest.mark.parametrize('name', CONFIGS)
def test_parameters_of_every_config_are_those_of_a_real_model(name):
  model = importlib.import_module(f'configs.gpt2.{name}').get_config().model.to_dict()
  other: dict = {'qkv_bias': True} if model.get('kind') == 'modern' else {'use_bias': False}
  for changes in ({'num_layers': 1}, {'num_layers': 3, **other}, {'num_layers': 2, 'vocab_multiple': 64}):
    named = [layer for layer in model.get('value_embeddings', ()) if layer < changes['num_layers']]
    agree(model | changes | ({'value_embeddings': tuple(named)} if named or 'value_embeddings' in model else {}))


def agree(section):
  sizes = transformer.of_decoder(section, 1000)
  config = families.read_config(section, vocab_size=1000)
  functions = families.functions_of(config)
  assert sizes.parameters == count(functions.init, config)
  assert sizes.training_flops(config.context_length) == functions.flops_per_token(config, config.context_length)


@pytest.mark.parametrize(
  'changes',
  [
    {'num_kv_heads': 2, 'qkv_bias': True, 'tied_head': True},
    {'activation': 'squared_relu', 'norm_scale': False, 'qk_norm': True, 'embedding_norm': True},
    {'qk_norm': True, 'value_residual': True, 'value_embeddings': (0, 2), 'head_dim': 10, 'mlp_dim': 24},
    {'value_embeddings': (1,), 'window': 5, 'window_pattern': 'SSL', 'vocab_multiple': 7},
  ],
)
def test_options_of_the_modern_decoder(changes):
  model = _modern.base().model.to_dict()
  agree(model | {'num_layers': 3, 'num_heads': 4, 'embed_dim': 16, 'context_length': 12, **changes})


def test_parameters_are_those_of_a_model_with_numbers_in_it(key):
  small = {'num_layers': 2, 'num_heads': 3, 'embed_dim': 12, 'context_length': 7, 'vocab_multiple': 4}
  params = gpt.init(key, gpt.GPTConfig(**small, vocab_size=13))
  assert transformer.of_gpt(small, 13).parameters == gpt.num_params(params)


@pytest.mark.parametrize('sublayers', ['attention', 'mlp'])
def test_parts_of_a_gpt(sublayers):
  spec = {'num_layers': 2, 'num_heads': 2, 'embed_dim': 16, 'context_length': 8, 'sublayers': sublayers}
  config = read_model({'kind': 'gpt', **spec}, 'rungs.x.model', 11)
  sizes = transformer.of_gpt(spec, 11)
  assert sizes.parameters == count(partial_gpt.init, config)
  assert sizes.training_flops(8) == partial_gpt.flops_per_token(config, 8)


@pytest.mark.parametrize('size', bert.SIZES)
def test_encoders(size):
  config = dataclasses.replace(bert.BertConfig(**bert.SIZES[size]), num_layers=2)
  sizes = transformer.of_bert(dataclasses.asdict(config))
  assert sizes.parameters == count(bert.init, config)
  assert sizes.forward_flops(64) == bert.flops_per_token(config, 64)


def test_encoders_by_name():
  assert estimate_systems.encoder_sizes('sentence-transformers/all-MiniLM-L6-v2').layers == 6
  assert estimate_systems.encoder_sizes('intfloat/e5-base-v2').width == 768


def test_grouped_heads_a_gate_and_an_own_head():
  """Llama 3 8B, whose parameters are published: 8,030,261,248."""
  llama = transformer.Transformer(
    vocab_size=128_256, positions=0, layers=32, width=4096, heads=32, kv_heads=8, head_dim=128, mlp_width=14_336,
    gated=True, bias=False, qkv_bias=False, norm_bias=False, tied=False,
  )  # fmt: skip
  assert llama.parameters == 8_030_261_248
  assert llama.kv_bytes(2) == 131_072


@pytest.mark.parametrize('mesh', [(8, 1, 1), (1, 8, 1), (2, 2, 2), (1, 2, 4)])
@pytest.mark.parametrize(('heads', 'width', 'multiple'), [(4, 16, 8), (5, 20, 1)])
def test_what_a_device_keeps_is_what_the_rules_give_it(mesh, heads, width, multiple):
  spec = dict(num_layers=2, num_heads=heads, embed_dim=width, context_length=6, vocab_multiple=multiple)
  shapes = dict(zip(sharding.MESH_AXES, mesh, strict=True))
  params = jax.eval_shape(lambda key: gpt.init(key, gpt.GPTConfig(**spec, vocab_size=30)), jax.random.key(0))
  specs = sharding.tree_specs(params, GPT_RULES, sharding.make_mesh(shapes))
  ways = lambda spec: math.prod(shapes[axis] for axis in spec if axis)
  leaves = zip(jax.tree.leaves(params), jax.tree.leaves(specs, is_leaf=sharding._is_spec), strict=True)
  kept = sum(leaf.size / ways(spec) for leaf, spec in leaves)
  # Biases of heads and of the MLP's width are split over tensor, and not over fsdp; the formula splits all over fsdp.
  slack = 2 * (4 * width + 3 * width)
  assert training.parameters_on_device(transformer.of_gpt(spec, 30), shapes) == pytest.approx(kept, abs=slack)


@pytest.mark.parametrize('name', [name for name in optimizers.OPTIMIZERS if name != 'rowwise_adagrad'])
def test_moments_are_those_of_the_optimiser(name):
  spec = dict(num_layers=2, num_heads=4, embed_dim=32, context_length=8)
  params = jax.eval_shape(lambda key: gpt.init(key, gpt.GPTConfig(**spec, vocab_size=50)), jax.random.key(0))
  optimizer = optimizers.make_optimizer(optimizers.OptimizerConfig(name=name), 100)
  moments = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(jax.eval_shape(optimizer.init, params)))
  model = transformer.of_gpt(spec, 50)
  assert training.optimizer_bytes(model, name) * model.parameters == pytest.approx(moments, rel=1e-3)


def test_activations_are_sixteen_widths_a_token():
  sizes = transformer.of_gpt({'num_layers': 3, 'num_heads': 2, 'embed_dim': 8, 'context_length': 4}, 9)
  assert sizes.activation_elements(4, 'none', scores=False) == 3 * 16 * 8
  assert sizes.activation_elements(4, 'none', scores=True) == 3 * (16 * 8 + 2 * 4 / 2)
  kept = [sizes.activation_elements(4, remat, scores=False) for remat in ('full', 'dots', 'none')]
  assert kept == sorted(kept)
  assert np.isclose(kept[0], 3 * 8 + 16 * 8)


@pytest.mark.parametrize('layers', [1, 3])
def test_parameters_of_the_encoder_decoder(layers):
  sizes = {'num_layers': layers, 'num_heads': 2, 'embed_dim': 12, 'feedforward_dim': 20}
  config = encoder_decoder.TransformerConfig(vocab_size=13, **sizes)
  assert transformer.encoder_decoder_parameters(dataclasses.asdict(config)) == count(encoder_decoder.init, config)
