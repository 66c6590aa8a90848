"""Milliseconds a step of makemore's models at its defaults: ours, and karpathy/makemore in PyTorch, in one run.

    python benchmarks/makemore_train.py --peer_python=/path/to/python --makemore=/path/to/makemore.py

Sizes, batch (32 names) and optimiser are those of its script. Ours is the whole trainer, drawing batches included. The
peer is shown as its script runs it, with its data loader, and stripped to the step on one batch. Sides take turns.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import record

KINDS = ('bigram', 'mlp', 'bow', 'rnn', 'gru', 'transformer')
STEPS = {'bigram': 20_000, 'mlp': 4000, 'bow': 6000, 'rnn': 6000, 'gru': 3000, 'transformer': 600}
HERE = pathlib.Path(__file__).parent


def serve(kind: str) -> None:
  """Prints our seconds a step."""
  from mlsd_jax.data.batches import drawn
  from mlsd_jax.data.words import WordList, load_words
  from mlsd_jax.makemore.task import name_task
  from mlsd_jax.models.name_models import NameConfig
  from mlsd_jax.training.config import TrainConfig
  from mlsd_jax.training.loop import fit
  from mlsd_jax.training.optimizers import OptimizerConfig

  words = WordList.split(*load_words('names'))
  config = NameConfig(kind, words.vocab_size, words.length, context=words.length)
  optimizer = OptimizerConfig(learning_rate=5e-4, schedule='constant', beta2=0.99, weight_decay=0.01, clip_norm=0.0)
  train = TrainConfig(
    steps=STEPS[kind], batch_size=32, steps_per_dispatch=STEPS[kind] // 20, optimizer=optimizer, log_every=0
  )
  with tempfile.TemporaryDirectory() as folder:
    data = drawn(words.encode(words.train), 32)
    result = fit(name_task(config, batch_size=32), data, None, train, folder)
  print(32 / result.items_per_second, flush=True)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--peer_python', default=os.environ.get('MLSD_PEER_PYTHON'), help='an interpreter with torch')
  parser.add_argument('--makemore', default='', help='makemore.py of a clone of karpathy/makemore; names.txt beside it')
  parser.add_argument('--kinds', nargs='+', default=KINDS, choices=KINDS)
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--serve', choices=KINDS, help='internal')
  options = parser.parse_args()
  if options.serve:
    return serve(options.serve)
  if not (options.peer_python and options.makemore):
    print('without PyTorch: give --peer_python and --makemore')
  print(
    f'{"":<12} {"ours":>9} {"its script":>11} {"its step":>9}   script / ours   step / ours    (ms a step, medians)'
  )
  for kind in options.kinds:
    ours, script, step = [], [], []
    for _ in range(options.rounds):
      ours.append(float(_last_line([sys.executable, __file__, f'--serve={kind}'])))
      if options.peer_python and options.makemore:
        names = pathlib.Path(options.makemore).parent / 'names.txt'
        command = [options.peer_python, HERE / 'torch_makemore.py', options.makemore, names, kind, 300]
        both = [float(value) for value in _last_line(command).split()]
        script.append(both[0])
        step.append(both[1])
    times = [1000 * statistics.median(values) if values else float('nan') for values in (ours, script, step)]
    print(
      f'{kind:<12} {times[0]:9.3f} {times[1]:11.3f} {times[2]:9.3f} {times[1] / times[0]:15.1f} '
      f'{times[2] / times[0]:13.1f}',
      flush=True,
    )
    if step:
      mine, others = ([1000 * each for each in values] for values in (ours, step))
      record.pair(f"makemore's {kind}, a step", mine, others, against='makemore.py, its step', unit='ms')
  return None


def _last_line(command: list) -> str:
  done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
  return done.stdout.strip().splitlines()[-1]


if __name__ == '__main__':
  main()
