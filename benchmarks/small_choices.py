"""What two choices of the small models gain: recurrences as loops, and the norm before each sublayer.

    uv run python benchmarks/small_choices.py

Recurrences: makemore's own training step, both forms in turn, processor time of one core, medians. Norms: a MiniGPT of
many layers on characters, both orders at the same rates, with and without a warmup; the loss of the last steps.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any
from unittest import mock

RATES = (1e-3, 3e-3, 1e-2)
LAYERS, STEPS = 12, 200
LAST = 20  # steps whose mean loss is told


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--part', choices=('recurrences', 'norms'), help='one of them alone')
  given = parser.parse_args()
  os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
  if given.part != 'norms':
    compare_recurrences(given.rounds)
  if given.part != 'recurrences':
    compare_norms()


def compare_recurrences(rounds: int) -> None:
  import jax

  from mlsd_jax.data.batches import drawn
  from mlsd_jax.data.words import WordList, load_words
  from mlsd_jax.makemore.task import name_task
  from mlsd_jax.models.name_models import NameConfig
  from mlsd_jax.training import sharding
  from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer
  from mlsd_jax.training.step import init_state, make_train_step

  steps = 250
  words = WordList.split(*load_words('names'))
  stream = drawn(words.encode(words.train), 32).batches(0, slice(None))
  batches = [next(stream) for _ in range(steps)]
  stacked = {key: jax.numpy.stack([batch[key] for batch in batches]) for key in batches[0]}
  print(f'makemore, 32 names of {words.length} places, {steps} steps a call')
  for kind in ('rnn', 'gru', 'lstm'):
    task = name_task(NameConfig(kind, words.vocab_size, words.length), batch_size=32)
    optimizer = make_optimizer(OptimizerConfig(learning_rate=5e-3, schedule='constant'), 1000)
    runs: dict[str, list[Any]] = {}
    compiling = {}
    for form, patched in (('lax.scan', contextlib.nullcontext()), ('unrolled', unrolled())):
      with patched:
        state = init_state(task, optimizer, jax.random.key(0))
        step = make_train_step(task, optimizer, sharding.make_mesh({}, jax.devices()[:1]))
        began = time.process_time()
        runs[form] = [step, jax.block_until_ready(step(state, stacked))[0]]
        compiling[form] = time.process_time() - began
    taken: dict[str, list[float]] = {form: [] for form in runs}
    for _ in range(rounds):
      for form, run in runs.items():
        began = time.process_time()
        run[1] = jax.block_until_ready(run[0](run[1], stacked))[0]
        taken[form].append((time.process_time() - began) / steps)
    for form, seconds in taken.items():
      middle = statistics.median(seconds) * 1e3
      print(f'  {kind:<6}{form:<12}{middle:8.3f} ms a step {compiling[form]:6.1f} s to compile', flush=True)


@contextlib.contextmanager
def unrolled() -> Iterator[None]:
  """Recurrences without a loop: one round's operations after the other's."""
  import jax

  from mlsd_jax.models import name_models

  scan = jax.lax.scan
  is_round = lambda step: getattr(step, 'func', None) in name_models._STEPS.values()
  with mock.patch.object(
    jax.lax, 'scan', lambda step, *args, **others: scan(step, *args, **others, unroll=is_round(step) or 1)
  ):
    yield


def compare_norms() -> None:
  from mlsd_jax.language_model.text import open_prepared
  from mlsd_jax.language_model.text_preparation import prepare_text

  from configs.mingpt import quickstart  # isort: skip

  data = quickstart.get_config().data
  data.source = 'tinyshakespeare'
  text = open_prepared(prepare_text(data))
  print(f'{LAYERS} layers of 64, 16 x 64 characters, {STEPS} steps: nats a character over the last {LAST}')
  print(f'  {"":<10}{"warmup":>8}' + ''.join(f'{f"rate {rate:g}":>14}' for rate in RATES))
  for order, patched in (('pre-norm', contextlib.nullcontext()), ('post-norm', post_norm())):
    with patched:
      for warmup in (0, 100):
        losses = [f'{train(text, rate, warmup):14.3f}' for rate in RATES]
        print(f'  {order:<10}{warmup:8}' + ''.join(losses), flush=True)


@contextlib.contextmanager
def post_norm() -> Iterator[None]:
  """Blocks as in 'Attention Is All You Need': the stream itself is normalised, behind each sum."""
  from mlsd_jax.models import gpt

  def call(block, x_BTD, key=None, past=None, mask_BTS=None):
    y_BTD, past = block.attention(x_BTD, None, past, mask_BTS)
    x_BTD = block.norm_1(x_BTD + y_BTD)
    return block.norm_2(x_BTD + block.mlp(x_BTD)), past

  with mock.patch.object(gpt.Block, '__call__', call):
    yield


def train(text: Any, rate: float, warmup: int) -> float:
  from mlsd_jax.data.tokens import TokenBatches
  from mlsd_jax.language_model.task import gpt_task
  from mlsd_jax.models.gpt import GPTConfig
  from mlsd_jax.training.config import TrainConfig
  from mlsd_jax.training.loop import fit
  from mlsd_jax.training.metrics import read_metrics
  from mlsd_jax.training.optimizers import OptimizerConfig

  shape: dict[str, int] = {'num_layers': LAYERS, 'num_heads': 4, 'embed_dim': 64, 'context_length': 64}
  model = GPTConfig(vocab_size=text.tokenizer.vocab_size, **shape)
  optimizer = OptimizerConfig(learning_rate=rate, schedule='constant', warmup_steps=warmup, beta2=0.99)
  settings = TrainConfig(steps=STEPS, batch_size=16, steps_per_dispatch=LAST, optimizer=optimizer, log_every=LAST)
  with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
    fit(gpt_task(model, batch_size=16, length=64), TokenBatches(text.train, 16, 64, 0), None, settings, folder)
    return [record['loss'] for record in read_metrics(folder) if record.get('loss') is not None][-1]


if __name__ == '__main__':
  main()
