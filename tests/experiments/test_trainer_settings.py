"""Every experiment that trains takes every setting of the trainer, and comes to the same parameters under each.

The same: within the rounding of float32, as devices and microbatches add the same numbers in another order.
"""

import dataclasses
import functools
import pathlib
import re
import sys
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mlsd_jax.data.algorithmic import PAD, Reversal, Sorting, pairs, sequences
from mlsd_jax.encoder import tasks as encoder_tasks
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import exact_answers, seq2seq
from mlsd_jax.language_model import task as language_tasks
from mlsd_jax.makemore import task as makemore_task
from mlsd_jax.models import bert, bigram, gpt, modern_gpt, partial_gpt, transformer
from mlsd_jax.models.name_models import KINDS, NameConfig
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.stages import ranker, towers
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.tower_examples import TowerData
from mlsd_jax.training import sharding
from mlsd_jax.training import step as step_module
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer
from mlsd_jax.training.task import Task

STEPS, BATCH, LENGTH = 2, 8, 6
SHAPE = STEPS, BATCH
RTOL, ATOL = 1e-4, 2e-6

type Case = tuple[Task, dict[str, np.ndarray]]  # batches have a leading axis of steps


def _rng() -> np.random.Generator:
  return np.random.default_rng(0)


def _ids(size: int, *shape: int, low: int = 0) -> np.ndarray:
  return _rng().integers(low, size, (*SHAPE, *shape)).astype(np.int32)


def _floats(*shape: int) -> np.ndarray:
  return _rng().normal(size=(*SHAPE, *shape)).astype(np.float32)


def _gpt(config_class=gpt.GPTConfig, **changes) -> Case:
  config = config_class(
    vocab_size=16, context_length=LENGTH, num_layers=1, num_heads=2, embed_dim=8, vocab_multiple=1, **changes
  )
  task = language_tasks.gpt_task(config, batch_size=BATCH, length=LENGTH)
  return task, {'tokens': _ids(16, LENGTH + 1), 'weights': np.ones((*SHAPE, LENGTH), np.float32)}


def _bigram() -> Case:
  task = language_tasks.bigram_task(bigram.BigramConfig(16, LENGTH), batch_size=BATCH, length=LENGTH)
  return task, _gpt()[1]


def _stacked(batch_of: Callable[[list[str]], dict[str, np.ndarray]], sources: list[str]) -> dict[str, np.ndarray]:
  batches = [batch_of(sources[i * BATCH : (i + 1) * BATCH]) for i in range(STEPS)]
  return {name: np.stack([batch[name] for batch in batches]) for name in batches[0]}


def _adder() -> Case:
  problem = Sorting(length=3, symbols=4)
  config = gpt.GPTConfig(
    vocab_size=problem.vocab_size, context_length=sum(problem.lengths), num_layers=1, num_heads=2, embed_dim=8
  )
  sources = problem.sources(_rng(), STEPS * BATCH, held_out=False)
  return exact_answers.answer_task(config, batch_size=BATCH), _stacked(functools.partial(sequences, problem), sources)


def _seq2seq() -> Case:
  problem = Reversal()
  config = transformer.TransformerConfig(problem.vocab_size, 1, 2, 8, 8, dropout=0.0)
  batches = _stacked(functools.partial(pairs, problem), problem.sources(_rng(), STEPS * BATCH, held_out=False))
  return seq2seq.seq2seq_task(config, problem, batch_size=BATCH), batches


def _names(kind: str, **changes) -> Case:
  config = NameConfig(kind, 9, LENGTH, context=4, embed_dim=8, hidden_dim=8, num_layers=1, num_heads=2, **changes)
  weights = (np.arange(LENGTH) < _ids(LENGTH + 1, 1, low=1)).astype(np.float32)
  return makemore_task.name_task(config, batch_size=BATCH), {'tokens': _ids(9, LENGTH + 1), 'weights': weights}


def _tower() -> Case:
  items, factor_dim = 12, 3
  codes = np.concatenate([np.zeros((1, 1), np.int32), _rng().integers(1, 4, (items, 1)).astype(np.int32)])
  known = _rng().normal(size=(items + 1, factor_dim + 2)).astype(np.float32)
  known[:, -1] = 1 / items  # share of the examples
  factors = Factors(known[:, :-2], np.ones(items + 1, np.float32), known[:, -2])
  data = TowerData(None, codes, np.zeros((5, 1), np.int32), factors)  # type: ignore[arg-type]
  config = TwoTowerConfig(
    items, (4,), (2,), embed_dim=8, hidden_dim=8, history_length=4, sequence_length=4, sequence_dim=8, history_code=0,
    factor_dim=factor_dim,
  )  # fmt: skip
  item, negative = _ids(items + 1, low=1), _ids(items + 1, low=1)[:, ::-1]
  batches = {
    'item': item, 'item_known': known[item], 'negative': negative, 'negative_known': known[negative],
    'user': _ids(5), 'history': _ids(items + 1, 4, low=-1), 'ages': np.abs(_floats(4)), 'factors': _floats(factor_dim),
    'user_codes': _ids(2, 1),
  }  # fmt: skip
  return towers.tower_task(config, data, batch_size=BATCH), batches


def _ranker() -> Case:
  size, items = 6, 200  # a table so large that its rows are updated alone
  codes = np.zeros((items + 1, 1), np.int32)
  config = SparseNNConfig(
    3, items, (1,), (2,), embed_dim=4, bins=4, bag_length=2, bottom_dim=8, top_dims=(8,), cross_layers=1, cross_rank=2
  )
  bounds = np.sort(_rng().normal(size=(3, 5)).astype(np.float32), axis=1)
  weights = (np.arange(size) < _ids(size + 1, 1, low=2)).astype(np.float32)
  labels = (_rng().random((*SHAPE, size, 3)) < 0.4).astype(np.float32)
  batches = {
    'dense': _floats(size, 3), 'item': _ids(items, size, low=1), 'user_codes': _ids(2, 1), 'bag': _ids(items, 2),
    'labels': labels, 'offset': _floats(), 'weights': weights,
  }  # fmt: skip
  losses = ranker.LossConfig(pairwise=1.0, listwise=1.0)
  return ranker.ranker_task(config, codes, bounds, batch_size=BATCH, losses=losses), batches


def _bert(**changes) -> bert.BertConfig:
  return bert.BertConfig(20, 8, num_layers=1, num_heads=2, embed_dim=8, mlp_dim=8, **changes)


def _masked_lm() -> Case:
  task = encoder_tasks.masked_lm_task(_bert(heads=('mlm',)), batch_size=BATCH, length=LENGTH)
  return task, {
    'tokens': _ids(20, LENGTH), 'positions': _ids(LENGTH, 2), 'targets': _ids(20, 2),
    'weights': np.ones((*SHAPE, 2), np.float32),
  }  # fmt: skip


def _contrastive(chunks: int = 1) -> Case:
  task = encoder_tasks.contrastive_task(
    _bert(), batch_size=BATCH, passages=2, length=3 * LENGTH, pooling='mean', temperature=0.5, chunks=chunks
  )
  return task, {
    'queries': _ids(20, LENGTH), 'passages': _ids(20, 2, LENGTH), 'passage_ids': _ids(9, 2),
    'weights': np.ones(SHAPE, np.float32),
  }  # fmt: skip


def _cross_encoder(loss: str) -> Case:
  config = _bert(heads=('pooler', 'score'))
  task = encoder_tasks.cross_encoder_task(config, batch_size=BATCH, passages=3, length=LENGTH, loss=loss)
  targets = np.broadcast_to(np.float32([1, 0, 0]), (*SHAPE, 3))
  return task, {
    'pairs': _ids(20, 3, LENGTH), 'firsts': _ids(LENGTH, 3, low=1), 'targets': targets,
    'weights': np.ones(SHAPE, np.float32),
  }  # fmt: skip


@functools.cache
def _page() -> dict[str, Any]:
  """What the experiment of docs/how-to/your_own_system.md defines."""
  page = pathlib.Path(__file__).parents[2] / 'docs' / 'how-to' / 'your_own_system.md'
  module = types.ModuleType('parity')
  sys.modules['parity'] = module  # where dataclasses look for it
  exec(re.search(r'```python\n(.*?)```', page.read_text(), re.DOTALL)[1], vars(module))
  return vars(module)


def _own(*, guarded: bool = True) -> Case:
  """The page's own system; without a guard, its loss is a plain mean: 0 / 0 where nothing counts."""
  page = _page()
  task = page['parity_task'](page['ParityConfig'](hidden_dim=8))
  batches = {name: array.reshape(*SHAPE, *array.shape[1:]) for name, array in page['rows_of'](np.arange(16)).items()}
  if not guarded:

    def loss(params, batch, key):
      total, weight = task.evaluate(params, batch)['loss']
      return total / weight, {'loss': (total, weight)}

    task = dataclasses.replace(task, loss=loss)
  return task, batches | {'weights': np.ones(SHAPE, np.float32)}


CASES: dict[str, Callable[[], Case]] = {
  'gpt2': _gpt,
  'gpt2, layers scanned, loss in chunks': lambda: _gpt(scan_layers=True, remat='full', loss_chunks=2),
  'gpt2, modern': lambda: _gpt(
    modern_gpt.ModernGPTConfig, num_kv_heads=1, qk_norm=True, value_residual=True, value_embeddings=(0,)
  ),
  'mingpt bigram': _bigram,
  'mingpt attention': lambda: _gpt(partial_gpt.PartialGPTConfig, sublayers='attention'),
  'mingpt mlp': lambda: _gpt(partial_gpt.PartialGPTConfig, sublayers='mlp'),
  'mingpt adder and sort': _adder,
  'mingpt seq2seq': _seq2seq,
  **{f'makemore {kind}': functools.partial(_names, kind) for kind in KINDS},
  'makemore mlp, batch norm': lambda: _names('mlp', norm=True),
  'recsys tower': _tower,
  'recsys ranker': _ranker,
  'encoder masked_lm': _masked_lm,
  'encoder contrastive': _contrastive,
  'encoder contrastive, chunks': lambda: _contrastive(chunks=2),
  'encoder cross_encoder': lambda: _cross_encoder('listwise'),
  'your own system': _own,
  'your own system, a plain mean': lambda: _own(guarded=False),
}
WHOLE_BATCH = {name for name in CASES if name.startswith(('recsys', 'encoder contrastive'))}
WHOLE_BATCH |= {'makemore wavenet', 'makemore mlp, batch norm'}

# Of a model that is trained by a loss which another case has: the two settings that part a batch most.
ALIKE = {
  'gpt2, layers scanned, loss in chunks',
  'gpt2, modern',
  'mingpt attention',
  'mingpt mlp',
  'encoder contrastive, chunks',
}
ALIKE |= {f'makemore {kind}' for kind in KINDS} - {'makemore transformer', 'makemore wavenet'}

SETTINGS: tuple[dict[str, Any], ...] = (
  {'mesh': {'data': 2, 'fsdp': 2, 'tensor': 2}, 'per_dispatch': 1},
  {'mesh': {'data': 2, 'fsdp': 2, 'tensor': 2}, 'step': 'shard_map'},
  {'mesh': {'data': 4}, 'step': 'pmap'},
  {'mesh': {'data': 1}, 'accumulation': 2},
  {'mesh': {'fsdp': 2}, 'step': 'shard_map', 'accumulation': 2},
)


def _with_masked_parts(name: str, batches: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Some rows count nothing: all of a microbatch of two (the odd ones), and all of a device of four (the first two).

  The two towers' batches have no padding.
  """
  masked = np.isin(np.arange(BATCH), (0, 1, 3, 5, 7))
  if name == 'mingpt seq2seq':
    target = batches['target'].copy()
    target[:, masked, 1:] = PAD
    return batches | {'target': target}
  if 'weights' not in batches:
    return batches
  weights = batches['weights'].copy()
  weights[:, masked] = 0.0
  return batches | {'weights': weights}


def _optimizer(task: Task) -> optax.GradientTransformation:
  """Plain gradient steps: Adam divides by the size of a gradient and so makes much of the rounding of a tiny one."""
  name = 'sgd' if task.lookups is None else 'rowwise_adagrad'
  config = OptimizerConfig(name=name, learning_rate=0.1, schedule='constant', weight_decay=0.0, epsilon=1e-3, beta1=0.0)
  return make_optimizer(config, STEPS)


def _train(case: Case, start, mesh, step='jit', accumulation=1, dtype=jnp.float32, per_dispatch=STEPS, optimizer=None):
  """Parameters after STEPS steps from the state `start`, and how far they went."""
  task, batches = case
  by_rows, optimizer = task.lookups is not None, optimizer or _optimizer(task)
  devices = jax.devices()[: int(np.prod(list(mesh.values())))]
  mesh = sharding.make_mesh(mesh, devices)
  shardings = step_module.state_shardings(start, task, mesh)
  # A copy: the step gives its argument's memory away.
  state = jax.device_put(jax.tree.map(jnp.copy, start), shardings)
  before = jax.device_get(start.params)
  train_step = step_module.make_train_step(
    task, optimizer, mesh, kind=step, accumulation=accumulation, dtype=dtype, by_rows=by_rows
  )
  for start in range(0, STEPS, per_dispatch):
    part = {name: x[start : start + per_dispatch] for name, x in batches.items()}
    state, _ = train_step(state, sharding.place_batch(part, mesh, leading=1))
  after = jax.device_get(state.params)
  moved = max(float(np.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))
  return after, moved


def _case(name: str) -> Case:
  task, batches = CASES[name]()
  return task, _with_masked_parts(name, batches)


@pytest.mark.parametrize('name', CASES)
def test_parameters_are_the_same_under_every_setting(name):
  """With parts of the batch that hold masked items only: a microbatch, a device."""
  case = _case(name)
  start = jax.jit(functools.partial(step_module.init_state, case[0], _optimizer(case[0])))(jax.random.key(0))
  reference, moved = _train(case, start, {'data': 1})
  assert moved > 1e-3
  assert moved < 10.0
  for settings in SETTINGS:
    if name in ALIKE and settings.get('step') != 'shard_map':
      continue
    if name in WHOLE_BATCH and 'accumulation' in settings:
      with pytest.raises(UserError, match=r'train\.accumulation=2 would hide'):
        _train(case, start, **settings)
      continue
    trained, _ = _train(case, start, **settings)
    same = functools.partial(np.testing.assert_allclose, rtol=RTOL, atol=ATOL, err_msg=f'{settings}')
    jax.tree.map(same, trained, reference)
  if name in ALIKE:
    return
  rounded, _ = _train(case, start, {'data': 1}, dtype=jnp.bfloat16)
  assert {leaf.dtype for leaf in jax.tree.leaves(rounded)} == {np.dtype('float32')}
  jax.tree.map(functools.partial(np.testing.assert_allclose, atol=0.3 * moved), rounded, reference)


@pytest.mark.parametrize('name', ['gpt2', 'your own system, a plain mean'])
def test_a_step_of_which_nothing_counts_changes_nothing(name):
  task, batches = _case(name)
  masked = task, batches | {'weights': np.zeros_like(batches['weights'])}
  start = jax.jit(functools.partial(step_module.init_state, masked[0], _optimizer(masked[0])))(jax.random.key(0))
  for settings in ({'mesh': {'data': 1}}, {'mesh': {'data': 2}, 'step': 'shard_map'}):
    _, moved = _train(masked, start, **settings)
    assert moved == 0.0


def test_muon_steps_alike_on_whole_and_on_split_matrices():
  """It needs all of a matrix, of which a device may hold a part."""
  case = _case('gpt2, modern')
  config = OptimizerConfig(name='muon', learning_rate=0.02, schedule='constant', weight_decay=0.0, epsilon=1e-3)
  optimizer = make_optimizer(config, STEPS)
  start = jax.jit(functools.partial(step_module.init_state, case[0], optimizer))(jax.random.key(0))
  reference, moved = _train(case, start, {'data': 1}, optimizer=optimizer)
  assert 0.01 < moved < 1.0
  for settings in ({'mesh': {'fsdp': 4}}, {'mesh': {'data': 2, 'fsdp': 2, 'tensor': 2}, 'step': 'shard_map'}):
    trained, _ = _train(case, start, **settings, optimizer=optimizer)
    # Rounding of a gradient is a direction of its own, however small, where the gradient itself has none.
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4, err_msg=f'{settings}'), trained, reference)
