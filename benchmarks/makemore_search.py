"""Trials an hour of a hyperparameter search over makemore's MLP: all at once, and one at a time, in one run.

    python benchmarks/makemore_search.py --peer_python=/path/to/python --makemore=/path/to/makemore.py

A trial is 1,000 steps on batches of 32 names, or as many places of names, at a learning rate and a width of its own.
Ours counts all, compiling and the validation loss too; PyTorch counts its bare training steps only. A few trials are
done one at a time, and their mean taken.
"""

import argparse
import dataclasses
import pathlib
import subprocess
import sys
import tempfile
import time

STEPS, BATCH = 1000, 32
PLACES = 228  # of 32 names
HERE = pathlib.Path(__file__).parent


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--trials', type=int, default=400)
  parser.add_argument('--alone', type=int, default=4, help='trials that are done one at a time')
  parser.add_argument('--peer_python', default='', help='an interpreter with torch')
  parser.add_argument('--makemore', default='', help='makemore.py of a clone of karpathy/makemore; names.txt beside it')
  options = parser.parse_args()

  from mlsd_jax.data.batches import drawn, padded
  from mlsd_jax.data.words import WordList, load_words
  from mlsd_jax.makemore.hyperparameter_search import Trials, search
  from mlsd_jax.makemore.task import name_task
  from mlsd_jax.models.name_models import NameConfig
  from mlsd_jax.training.config import TrainConfig
  from mlsd_jax.training.loop import fit
  from mlsd_jax.training.optimizers import OptimizerConfig

  words = WordList.split(*load_words('names'))
  config = NameConfig('mlp', words.vocab_size, words.length, embed_dim=10, hidden_dim=200)
  trials = Trials.draw(options.trials, low=1e-4, high=0.1, widths=(25, 50, 100, 200))
  began = time.perf_counter()
  losses = search(trials, words, config, steps=STEPS, batch_size=PLACES)
  together = (time.perf_counter() - began) / len(trials)
  print(f'all {len(trials)} at once        {3600 / together:10,.0f} trials an hour   best {losses.min():.4f}')

  began = time.perf_counter()
  for i in range(options.alone):
    alone = dataclasses.replace(config, hidden_dim=int(trials.width[i]))
    optimizer = OptimizerConfig(learning_rate=float(trials.learning_rate[i]), beta2=0.99, weight_decay=0.0)
    train = TrainConfig(steps=STEPS, batch_size=BATCH, steps_per_dispatch=250, optimizer=optimizer, log_every=0)
    with tempfile.TemporaryDirectory() as folder:
      encoded, val = words.encode(words.train), words.encode(words.val[:1000])
      fit(name_task(alone, batch_size=BATCH), drawn(encoded, BATCH), padded(val, BATCH), train, folder)
  alone_seconds = (time.perf_counter() - began) / options.alone
  print(f'ours, one at a time   {3600 / alone_seconds:10,.0f} trials an hour   ratio {alone_seconds / together:.1f}')

  if not (options.peer_python and options.makemore):
    return print('without PyTorch: give --peer_python and --makemore')
  names = pathlib.Path(options.makemore).parent / 'names.txt'
  command = [options.peer_python, HERE / 'torch_makemore.py', options.makemore, names, 'small_mlp', STEPS]
  done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
  for what, seconds in zip(('its script', 'its step'), done.stdout.split()[-2:], strict=True):
    taken = STEPS * float(seconds)
    print(f'PyTorch, {what:<12} {3600 / taken:10,.0f} trials an hour   ratio {taken / together:.1f}')
  return None


if __name__ == '__main__':
  sys.exit(main())
