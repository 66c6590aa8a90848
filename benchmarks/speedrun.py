"""The speedrun against the quickstart: same text, same cores, one run (its ingredients: speedrun_ablation.py).

    python benchmarks/speedrun.py                                   # both sides whole, and their steps timed in turn

Losses do not depend on what else the machine does; times do. So a step's time is taken of all variants in turn, a few
steps of each at a time, and what is told is the median of the ratios. What is finished is kept in --out, and a run that
was stopped goes on behind it.
"""

import argparse
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from mlsd_jax.training import devices

devices.configure_backend(bfloat16=False)

import jax

from experiments import config_files
from mlsd_jax import files
from mlsd_jax.data.tokens import EvalBatches, TokenBatches
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.language_model.text import Text, open_prepared
from mlsd_jax.language_model.text_preparation import prepare_text
from mlsd_jax.models.families import read_config
from mlsd_jax.schema import from_mapping
from mlsd_jax.training import sharding
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit
from mlsd_jax.training.optimizers import make_optimizer
from mlsd_jax.training.step import init_state, make_train_step


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--seeds', type=int, default=1)
  parser.add_argument('--rounds', type=int, default=7, help='of timing')
  parser.add_argument('--quickstart_steps', type=int, default=0, help='0 is those of the config')
  parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path('speedrun.json'))
  options = parser.parse_args()
  done: dict[str, Any] = files.read_json(options.out) if options.out.exists() else {}
  variants = sides(options.quickstart_steps)
  text = open_prepared(prepare_text(variants['speedrun'].data))
  ratios = time_in_turn({name: (config, text) for name, config in variants.items()}, options.rounds)
  for name, config in variants.items():
    for seed in range(options.seeds):
      key = f'{name}, seed {seed}, {config.train.steps} x {config.train.batch_size}'
      if key not in done:
        done[key] = train(config, text, seed)
        files.write_json(options.out, done)
    keys = [f'{name}, seed {seed}, {config.train.steps} x {config.train.batch_size}' for seed in range(options.seeds)]
    losses = [done[key] for key in keys]
    tokens = config.train.steps * config.train.batch_size * config.model.context_length
    share = ratios[name] * config.train.steps / variants[first_of(variants)].train.steps
    print(
      f'{name:<28} val loss {statistics.mean(losses):.4f} ({min(losses):.4f} to {max(losses):.4f}), '
      f'{config.train.steps:,} steps of {config.train.batch_size}, {tokens:,} tokens, a step {ratios[name]:.2f}, '
      f'all steps {share:.3f} of {first_of(variants)}',
      flush=True,
    )
    done[f'{name}, time'] = ratios[name]
  files.write_json(options.out, done)


def first_of(variants: Mapping[str, Any]) -> str:
  return next(iter(variants))


def sides(quickstart_steps: int) -> dict[str, Any]:
  found = {name: config_files.load_config(f'configs/gpt2/{name}.py')[1] for name in ('quickstart', 'speedrun')}
  found['quickstart'].train.steps = quickstart_steps or found['quickstart'].train.steps
  return found


def parts(config: Any, text: Text, seed: int = 0):
  quiet = dict.fromkeys(('eval_every', 'checkpoint_every', 'log_every'), 0)
  settings = from_mapping(TrainConfig, config.train.to_dict() | {'seed': seed, **quiet}, 'train')
  model = read_config(config.model.to_dict(), vocab_size=text.tokenizer.vocab_size)
  task = gpt_task(model, batch_size=settings.batch_size, length=model.context_length)
  return settings, task, TokenBatches(text.train, settings.batch_size, model.context_length, seed), model


def train(config: Any, text: Text, seed: int) -> float:
  """The validation loss at the end."""
  settings, task, data, model = parts(config, text, seed)
  with tempfile.TemporaryDirectory() as workdir:
    result = fit(task, data, EvalBatches(text.val, 16, model.context_length), settings, workdir)
  return result.metrics['loss']


def time_in_turn(
  variants: Mapping[str, tuple[Any, Text]],
  rounds: int,
  steps: int = 5,
  clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
  """Time of a step of each, as the median over rounds of its ratio to the first one's of the round."""
  runs = {}
  for name, (config, text) in variants.items():
    settings, task, data, _ = parts(config, text)
    optimizer = make_optimizer(settings.optimizer, settings.steps)
    mesh = sharding.make_mesh({}, jax.devices()[:1])
    step = make_train_step(task, optimizer, mesh)
    stream = data.batches(0, slice(None))
    batches = [next(stream) for _ in range(steps)]
    stacked = {key: jax.numpy.stack([batch[key] for batch in batches]) for key in batches[0]}
    state = jax.jit(lambda key, task=task, optimizer=optimizer: init_state(task, optimizer, key))(jax.random.key(0))
    runs[name] = [step, stacked, jax.block_until_ready(step(state, stacked))[0]]
  seconds: dict[str, list[float]] = {name: [] for name in runs}
  for _ in range(rounds):
    for name, run in runs.items():
      start = clock()
      run[2] = jax.block_until_ready(run[0](run[2], run[1]))[0]
      seconds[name].append((clock() - start) / steps)
  first = first_of(runs)
  print(f'a step of {first}: {statistics.median(seconds[first]) * 1000:.1f} ms (median of {rounds} rounds)', flush=True)
  pairs = {name: zip(own, seconds[first], strict=True) for name, own in seconds.items()}
  return {name: statistics.median(own / other for own, other in each) for name, each in pairs.items()}


if __name__ == '__main__':
  main()
