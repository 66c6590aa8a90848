"""The code of docs/how-to/plain_orbax.md, block by block, on a checkpoint of a small run over eight devices."""

import pathlib
import re
import types

import chex
import jax
import numpy as np
import pytest

from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import gpt
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit

PAGE = pathlib.Path(__file__).parents[2] / 'docs' / 'how-to' / 'plain_orbax.md'
# What Orbax says where no target is given, as the page tells.
pytestmark = pytest.mark.filterwarnings('ignore:Sharding info not provided:UserWarning')
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE.read_text(), re.DOTALL)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(folder, parameters) of two steps of a GPT, sharded over 4 x 2 devices."""
  folder = tmp_path_factory.mktemp('plain_orbax')
  config = gpt.GPTConfig(vocab_size=11, context_length=8, num_layers=1, num_heads=2, embed_dim=16)
  batch = {'tokens': np.random.default_rng(0).integers(0, 11, (8, 9), np.int32)}
  batches = lambda start=0, rows=slice(None): iter([{'tokens': batch['tokens'][rows]}] * 2)
  train = TrainConfig(steps=2, batch_size=8, mesh={'data': 4, 'fsdp': 2, 'tensor': 1})
  data = types.SimpleNamespace(batches=batches)
  done = fit(gpt_task(config, batch_size=8, length=8), data, None, train, folder / 'runs' / 'gpt2' / 'quickstart')
  return folder, jax.device_get(done.params)


def test_every_block_restores_the_parameters(run, monkeypatch):
  folder, expected = run
  monkeypatch.chdir(folder)
  names, restored = {}, []
  for block in BLOCKS:
    exec(compile(block, str(PAGE), 'exec'), names)
    restored.append(names.pop('params'))
  assert names['step'] == 2
  assert len(restored) == 4
  for params in restored:
    chex.assert_trees_all_equal(jax.device_get(params), expected)
  own_mesh, *placed = (params['blocks']['0']['mlp']['up']['kernel'].sharding for params in restored)
  assert dict(own_mesh.mesh.shape) == {'data': 4, 'fsdp': 2, 'tensor': 1}
  for sharding in placed:
    assert dict(sharding.mesh.shape) == {'replica': 4, 'model': 2}
    assert sharding.spec[0] == 'model'


def test_what_the_page_says_of_the_optimizer_and_of_v1_holds(run):
  """The optimiser's state is twice the size of the parameters, and `...` leaves a leaf out."""
  from orbax.checkpoint.experimental import v1

  folder, expected = run
  step = folder / 'runs' / 'gpt2' / 'quickstart' / 'checkpoints' / '2'
  state = v1.load(step)
  sizes = {name: sum(np.size(leaf) for leaf in jax.tree.leaves(state[name])) for name in ('params', 'opt_state')}
  assert sizes['opt_state'] == pytest.approx(2 * sizes['params'], rel=0.01)
  skipped = jax.tree.map(lambda leaf: ..., state) | {'params': jax.tree.map(lambda leaf: leaf, state['params'])}
  partial = v1.load(step, skipped)
  assert partial['step'] is ...
  with pytest.warns(DeprecationWarning, match='load'):
    v1.load_pytree(step, skipped)
  chex.assert_trees_all_equal(jax.device_get(partial['params']), expected)
