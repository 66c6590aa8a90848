"""Gradients in bfloat16 are summed over microbatches in float32, whatever oneDNN makes of the products on a CPU."""

import json
import os
import subprocess
import sys

# Large enough for oneDNN to take the product. Its flags have to be set before JAX starts: a process of its own.
SUM = """
import json
from mlsd_jax.training import devices

devices.configure_backend(bfloat16=True)
import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.training import sharding, step
from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer
from mlsd_jax.training.task import Task, average_loss

PARTS, ROWS, WIDTH = 32, 128, 512


def loss(params, batch, key):
  y = batch['x'].reshape(-1, WIDTH).astype(params['w'].dtype) @ params['w']
  total = (y * batch['c'].reshape(-1, WIDTH).astype(y.dtype)).astype(jnp.float32).sum()
  return average_loss({'loss': (total, jnp.float32(len(batch['x'])))})


task = Task(init=lambda key: {'w': jnp.zeros((WIDTH, WIDTH))}, loss=loss, evaluate=None)
rate = OptimizerConfig(name='sgd', learning_rate=1.0, schedule='constant', clip_norm=0.0, beta1=0.0)
optimizer = make_optimizer(rate, 1)
mesh = sharding.make_mesh({'data': 1})
draw = lambda key: np.asarray(jax.random.normal(jax.random.key(key), (PARTS, ROWS, WIDTH), jnp.bfloat16), np.float32)
x, c = draw(0), draw(1)
state = step.init_state(task, optimizer, jax.random.key(0))
train_step = step.make_train_step(task, optimizer, mesh, accumulation=PARTS, dtype=jnp.bfloat16)
compiled = train_step.lower(state, {'x': x[None], 'c': c[None]}).compile()
state, _ = compiled(state, {'x': x[None], 'c': c[None]})
of_part = jax.jit(lambda x, c: (x.T.astype(jnp.bfloat16) @ c.astype(jnp.bfloat16)).astype(jnp.float32))
wanted = sum(np.asarray(of_part(x[part], c[part])) for part in range(PARTS)) / PARTS
error = np.abs(state.params['w'] + wanted).max() / np.abs(wanted).max()
print(json.dumps([float(error), 'onednn' in compiled.as_text()]))
"""


def test_microbatches_are_summed_in_float32():
  environment = os.environ | {'JAX_NUM_CPU_DEVICES': '1'}
  command = [sys.executable, '-c', SUM]
  result = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
  error, by_onednn = json.loads(result.stdout.splitlines()[-1])
  assert by_onednn  # the product is that of which the sum could become a part
  assert error < 1e-6  # in bfloat16 0.02
