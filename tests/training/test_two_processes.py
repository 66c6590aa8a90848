"""Two processes of four devices train as one device does."""

import json

import numpy as np
import pytest

# Every layout in one pair of processes: starting them is most of the time.
SCRIPT = """
import functools, json
import jax
import numpy as np
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.models import gpt
from mlsd_jax.training import sharding, step
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer

config = gpt.GPTConfig(vocab_size=61, context_length=16, num_layers=2, num_heads=4, embed_dim=32, vocab_multiple=8)
task = gpt_task(config, batch_size=16, length=16)
optimizer = make_optimizer(OptimizerConfig(learning_rate=3e-3, warmup_steps=2), 20)
init = functools.partial(step.init_state, task, optimizer)
start = np.random.default_rng(0).integers(0, 61, (20, 16, 1))
tokens = ((start + np.arange(17)) % 61).astype(np.int32)

def losses(shape, kind, interleaved=False):
  devices = jax.devices()
  if interleaved:  # devices of either process in turn, as a mesh visits the chips of a TPU slice
    devices = sorted(devices, key=lambda device: device.id % 4)
  mesh = sharding.make_mesh(shape, devices)
  shardings = step.state_shardings(jax.eval_shape(init, jax.random.key(0)), task, mesh)
  state = jax.jit(init, out_shardings=shardings)(jax.random.key(0))
  rows = sharding.process_rows(16, mesh)
  batch = sharding.place_batch({'tokens': tokens[:, rows]}, mesh, leading=1)
  metrics = step.make_train_step(task, optimizer, mesh, kind=kind)(state, batch)[1]
  return np.asarray(metrics['loss'][0] / metrics['loss'][1]).tolist()

print('\\nlosses', json.dumps([losses(*case) for case in json.loads(arguments[0])]))
"""


def found(out: str) -> list[list[float]]:
  """What the script printed; Gloo prints too, and not always whole lines."""
  return json.loads(out.rpartition('losses ')[2].splitlines()[0])


@pytest.mark.slow
def test_losses_of_twenty_steps_agree(run_processes):
  # Every shape and both kinds; all pairs of them are held together within one process (test_step.py).
  cases = [({'data': 8}, 'jit'), ({'fsdp': 8}, 'shard_map'), ({'fsdp': 4, 'tensor': 2}, 'jit')]
  cases += [({'data': 8}, 'jit', True)]
  [[single]] = map(found, run_processes(SCRIPT, json.dumps([({}, 'jit')]), count=1, devices=1))
  assert single[-1] < 0.8 * single[0]
  for several in run_processes(SCRIPT, json.dumps(cases), timeout=300):
    for case, losses in zip(cases, found(several), strict=True):
      np.testing.assert_allclose(losses, single, rtol=1e-5, err_msg=str(case))
