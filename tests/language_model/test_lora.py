"""LoRA: factors beside frozen matrices."""

import dataclasses
import json
import os
import subprocess

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mlsd_jax.errors import UserError
from mlsd_jax.language_model import lora, modern_folder
from mlsd_jax.language_model.lora import LoraConfig
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import gpt, modern_gpt
from mlsd_jax.models.families import functions_of
from mlsd_jax.training import sharding
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer
from mlsd_jax.training.step import init_state, make_eval_step, make_train_step, place_frozen, state_shardings

GPT = gpt.GPTConfig(vocab_size=32, context_length=8, num_layers=2, num_heads=2, embed_dim=8)
MODERN = modern_gpt.ModernGPTConfig(
  vocab_size=32, context_length=8, num_layers=2, num_heads=2, embed_dim=8, num_kv_heads=1
)
STACKED = dataclasses.replace(MODERN, scan_layers=True)
MODELS = {'gpt': GPT, 'modern': MODERN, 'stacked': STACKED}


def _make(config):
  factors = LoraConfig(rank=2, alpha=6.0)
  base = jax.jit(functions_of(config).init, static_argnums=1)(jax.random.key(0), config)
  return base, lora.init(jax.random.key(1), base, factors), factors


def _flat(tree):
  return flax.traverse_util.flatten_dict(tree, sep='/')


@pytest.mark.parametrize('name', MODELS)
def test_before_training_the_model_is_the_one_it_starts_from(name):
  base, factors, config = _make(MODELS[name])
  assert all(np.array_equal(a, _flat(base)[path]) for path, a in _flat(lora.join(factors, base, config)).items())


@pytest.mark.parametrize('name', MODELS)
def test_a_matrix_is_its_own_and_alpha_by_rank_times_the_product_of_its_factors(name):
  base, factors, config = _make(MODELS[name])
  factors = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(2), leaf.shape), factors)
  whole, pairs = _flat(lora.join(factors, base, config)), _flat(factors)
  touched = {path.rpartition('/')[0] for path in pairs}
  assert touched == {path for path in whole if path.endswith('kernel')}
  for path, matrix in _flat(base).items():
    expected = np.array(matrix, np.float64)
    if path in touched:
      a, b = (np.array(pairs[f'{path}/{side}'], np.float64) for side in 'ab')
      layers = range(a.shape[0]) if a.ndim == 3 else [...]
      for layer in layers:  # row by row of A, column by column of B
        expected[layer] += 3.0 * sum(np.outer(a[layer][:, r], b[layer][r]) for r in range(2)).reshape(
          expected[layer].shape
        )
    np.testing.assert_allclose(whole[path], expected, rtol=1e-5, atol=1e-5)


def test_only_the_named_matrices_have_factors():
  base, *_ = _make(MODERN)
  chosen = lora.targets(base, LoraConfig(rank=1, matrices=('query', 'token_embedding')))
  assert list(chosen) == ['blocks/0/attention/query/kernel', 'blocks/1/attention/query/kernel', 'token_embedding']
  assert chosen['token_embedding'] == (0, 32, 8)
  with pytest.raises(UserError, match=r"names 'qkv'; the model has .*query"):
    lora.targets(base, LoraConfig(rank=1, matrices=('qkv',)))


@pytest.mark.parametrize(('kind', 'fsdp'), [('jit', 2), ('shard_map', 2), ('pmap', 1)])
def test_only_factors_are_trained_and_every_form_of_the_step_trains_them_alike(kind, fsdp):
  """The plain reference: the gradient of the loss of W + alpha / r A B with respect to A and B, and Adam."""
  base, _, factors = _make(MODERN)
  plain = gpt_task(MODERN, batch_size=4, length=8)
  task = lora.lora_task(plain, base, factors)
  optimizer = make_optimizer(OptimizerConfig(learning_rate=0.02, schedule='constant', clip_norm=0.0), 3)
  mesh = sharding.make_mesh({'data': 2, 'fsdp': fsdp}, jax.devices()[: 2 * fsdp])
  batches = {'tokens': np.random.default_rng(0).integers(0, 32, (3, 4, 9)).astype(np.int32)}
  state = init_state(task, optimizer, jax.random.key(3))
  assert {leaf.shape for leaf in jax.tree.leaves(state.params)} == {
    leaf.shape for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim
  }
  params, opt_state = state.params, state.opt_state
  loss = lambda params, tokens: plain.loss(lora.join(params, base, factors), {'tokens': tokens}, None)[0]

  @jax.jit
  def one_step(params, opt_state, tokens):
    value, grads = jax.value_and_grad(loss)(params, tokens)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return value, jax.tree.map(jnp.add, params, updates), opt_state

  losses = []
  for tokens in batches['tokens']:
    value, params, opt_state = one_step(params, opt_state, tokens)
    losses.append(float(value))
  state = jax.device_put(state, state_shardings(state, task, mesh))
  step = make_train_step(task, optimizer, mesh, kind=kind)
  trained, metrics = step(state, batches, *place_frozen(task, mesh))
  np.testing.assert_allclose(metrics['loss'][0] / metrics['loss'][1], losses, rtol=1e-5)
  for a, b in zip(jax.tree.leaves(trained.params), jax.tree.leaves(params), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
  batch = {'tokens': batches['tokens'][0]}
  total, weight = make_eval_step(task, mesh)(trained.params, batch, *place_frozen(task, mesh))['loss']
  np.testing.assert_allclose(total / weight, loss(params, batch['tokens']), rtol=1e-5)


def test_factors_of_another_model_are_refused():
  base, factors, config = _make(MODERN)
  wider = dataclasses.replace(MODERN, embed_dim=16)
  with pytest.raises(UserError, match=r"of another model: its blocks/0/attention/.* is .* this one's"):
    lora.join(factors, modern_gpt.init(jax.random.key(0), wider), config)
  with pytest.raises(UserError, match='of another model: this one has no blocks/0/attention/key'):
    lora.join(factors, gpt.init(jax.random.key(0), GPT), config)
  assert lora.fingerprint(base) == lora.fingerprint(jax.tree.map(np.asarray, base))
  assert lora.fingerprint(base) != lora.fingerprint({**base, 'token_embedding': base['token_embedding'] + 1e-6})


def test_settings_that_do_not_go_with_lora_are_refused():
  with pytest.raises(UserError, match='name it with --init_from'):
    lora.check(LoraConfig(rank=2), OptimizerConfig(), '')
  with pytest.raises(UserError, match='muon'):
    lora.check(LoraConfig(rank=2), OptimizerConfig(name='muon'), 'hf:x')
  lora.check(LoraConfig(), OptimizerConfig(name='muon'), '')


PEER = """
import sys, json, numpy as np, safetensors.numpy, torch, peft
from transformers import AutoModelForCausalLM
folder, rank, alpha, names = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.loads(sys.argv[4])
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation='eager')
model = peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=names))
given = safetensors.numpy.load_file(folder + '/factors.safetensors')
state = peft.get_peft_model_state_dict(model)
assert {*state} == {*given}, sorted({*state} ^ {*given})
peft.set_peft_model_state_dict(model, {name: torch.tensor(array) for name, array in given.items()})
with torch.no_grad():
  logits = model(torch.tensor([[1, 5, 9, 3, 30, 2]])).logits
np.save(folder + '/logits.npy', logits.numpy())
"""
_NAMES = {'query': 'q_proj', 'value': 'v_proj', 'out': 'o_proj', 'up': 'up_proj'}


@pytest.mark.skipif(
  'MLSD_PEER_PYTHON' not in os.environ, reason='MLSD_PEER_PYTHON names no interpreter with torch and peft'
)
def test_peft_computes_the_same_with_the_same_factors(tmp_path):
  base = modern_gpt.init(jax.random.key(0), MODERN)
  factors = LoraConfig(rank=2, alpha=6.0, matrices=tuple(_NAMES))
  trained = lora.init(jax.random.key(1), base, factors)
  trained = jax.tree.map(lambda leaf: 0.5 * jax.random.normal(jax.random.key(2), leaf.shape), trained)
  modern_folder.save_modern(jax.tree.map(np.asarray, base), MODERN, tmp_path / 'base')
  theirs = {}
  for path, leaf in _flat(trained).items():
    _, layer, part, name, _, side = path.split('/')
    part = {'attention': 'self_attn', 'mlp': 'mlp'}[part]
    key = f'base_model.model.model.layers.{layer}.{part}.{_NAMES[name]}.lora_{side.upper()}.weight'
    theirs[key] = np.ascontiguousarray(np.asarray(leaf).T)
  safetensors.numpy.save_file(theirs, tmp_path / 'base' / 'factors.safetensors')
  arguments = [tmp_path / 'base', '2', '6', json.dumps([*_NAMES.values()])]
  told = subprocess.run(
    [os.environ['MLSD_PEER_PYTHON'], '-c', PEER, *map(str, arguments)], capture_output=True, text=True
  )
  if 'No module named' in told.stderr:
    pytest.skip(f'the peer interpreter has no peft: {told.stderr.splitlines()[-1]}')
  assert told.returncode == 0, told.stderr
  whole = lora.join(trained, base, factors)
  logits = modern_gpt.apply(whole, jnp.array([[1, 5, 9, 3, 30, 2]]), MODERN)
  np.testing.assert_allclose(logits, np.load(tmp_path / 'base' / 'logits.npy'), atol=1e-4)


def test_a_rank_that_matrices_cannot_have_is_said():
  base, *_ = _make(MODERN)  # 8 wide; keys and values have 4
  idle = lambda rank, **more: lora.idle_rank(base, LoraConfig(rank=rank, **more))
  assert idle(4) is None
  assert 'lora.rank=5 is more than' in (idle(5) or '')
  assert idle(5, matrices=('up',)) is None
  with pytest.raises(UserError, match=r'lora.rank=9 is more than the rank of any matrix here; up to 8 is of use'):
    idle(9)
