"""The loss of the first steps of a recipe: ours and PyTorch's from the same weights on the same batches, in one run.

    python benchmarks/gpt2_loss.py --steps=300 --peer_python=/path/to/python     # one with torch and transformers

Both sides start from one draw of GPT-2's initial weights (handed over as a Hugging Face folder), see the same batches
in the same order and follow the same learning rates; where the recipe has dropout, each drops by its own draws. What a
side has finished is kept in --out, so a run that was stopped goes on with the other.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from mlsd_jax.training import devices

devices.configure_backend(bfloat16=True)

import jax
import numpy as np

from experiments import config_files
from mlsd_jax import files
from mlsd_jax.data.tokens import TokenBatches
from mlsd_jax.language_model import gpt2_folder
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.language_model.text import open_prepared
from mlsd_jax.language_model.text_preparation import prepare_text
from mlsd_jax.models import gpt
from mlsd_jax.schema import from_mapping
from mlsd_jax.training import sharding, step
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.optimizers import learning_rate_schedule, make_optimizer


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--config', default='configs/gpt2/shakespeare_char.py')
  parser.add_argument('--steps', type=int, default=300)
  parser.add_argument('--accumulation', type=int, default=16, help='microbatches of both sides; 16 suits a CPU')
  parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('gpt2_loss.json'))
  parser.add_argument('--peer_python', default=os.environ.get('MLSD_PEER_PYTHON'))
  options = parser.parse_args()
  if not options.peer_python:
    raise SystemExit('no peer: give --peer_python or MLSD_PEER_PYTHON, an interpreter with torch and transformers')

  config = config_files.load_config(options.config)[1]
  train = from_mapping(TrainConfig, config.train.to_dict(), 'train')
  text = open_prepared(prepare_text(config.data))
  model = from_mapping(gpt.GPTConfig, config.model.to_dict() | {'vocab_size': text.tokenizer.vocab_size}, 'model')
  stream = TokenBatches(text.train, train.batch_size, model.context_length, train.seed).batches(0, slice(None))
  batches = np.stack([next(stream)['tokens'] for _ in range(options.steps)])
  params = jax.jit(gpt.init, static_argnums=1)(jax.random.key(train.seed), model)
  schedule = learning_rate_schedule(train.optimizer, train.steps)

  losses = files.read_json(options.out) if options.out.exists() else {}
  if 'torch' not in losses:
    with tempfile.TemporaryDirectory() as name:
      folder = pathlib.Path(name)
      gpt2_folder.save_gpt2(jax.device_get(params), model, folder / 'gpt2')
      np.save(folder / 'batches.npy', batches)
      plan = {
        'dropout': model.dropout,
        'beta2': train.optimizer.beta2,
        'accumulation': options.accumulation,
        'learning_rates': [float(schedule(i)) for i in range(options.steps)],
      }
      losses['torch'] = peer_losses(options.peer_python, folder, plan)
    files.write_json(options.out, losses)
  if 'ours' not in losses:
    losses['ours'] = our_losses(model, train, params, batches, options.accumulation)
    files.write_json(options.out, losses)
  report(losses)


def our_losses(model, train, params, batches, accumulation: int) -> list[float]:
  task = gpt_task(model, batch_size=train.batch_size, length=model.context_length)
  optimizer = make_optimizer(train.optimizer, train.steps)
  mesh = sharding.make_mesh(dict(train.mesh))
  state = step.init_state(task, optimizer, jax.random.key(train.seed), rng=train.rng)
  state = jax.device_put(step.TrainState(state.step, params, state.opt_state, state.key), sharding.replicated(mesh))
  train_step = step.make_train_step(task, optimizer, mesh, accumulation=accumulation, dtype=step.DTYPES[train.dtype])
  losses = []
  began = time.perf_counter()
  for batch in batches:
    state, metrics = train_step(state, sharding.place_batch({'tokens': batch[None]}, mesh, leading=1))
    total, weight = jax.device_get(metrics['loss'])
    losses.append(float(total[0] / weight[0]))
    progress('ours', losses, began)
  return losses


def peer_losses(python: str, folder: pathlib.Path, plan: dict) -> list[float]:
  program = pathlib.Path(__file__).parent / 'torch_loss.py'
  peer = subprocess.Popen([python, program, folder, json.dumps(plan)], stdout=subprocess.PIPE, text=True)
  assert peer.stdout is not None
  losses: list[float] = []
  began = time.perf_counter()
  for line in peer.stdout:
    losses.append(float(line))
    progress('torch', losses, began)
  if peer.wait() or len(losses) != len(plan['learning_rates']):
    raise SystemExit('the peer died')
  return losses


def progress(who: str, losses: list[float], began: float) -> None:
  if len(losses) % 20 == 0:
    seconds = (time.perf_counter() - began) / len(losses)
    print(f'{who} step {len(losses)}  loss {losses[-1]:.4f}  {seconds:.2f} s a step', file=sys.stderr, flush=True)


def report(losses: dict[str, list[float]]) -> None:
  """Means over windows of 20 steps, since single steps differ by their dropout."""
  means = {who: np.reshape(values[: len(values) // 20 * 20], (-1, 20)).mean(1) for who, values in losses.items()}
  print('steps        ours   torch   ours - torch')
  for window, (ours, torch) in enumerate(zip(means['ours'], means['torch'], strict=True)):
    print(f'{20 * window + 1:4d}-{20 * window + 20:<4d}  {ours:.4f}  {torch:.4f}  {ours - torch:+.4f}')
  print(f'first step   {losses["ours"][0]:.4f}  {losses["torch"][0]:.4f}')
  print(f'largest difference of a window {np.abs(means["ours"] - means["torch"]).max():.4f}')


if __name__ == '__main__':
  main()
