"""Rows a second of each system's training batches: a plain loop, and grain reading ahead in a thread, in one run.

    python benchmarks/batches.py [--seconds=1] [--rounds=5]

Nothing is trained: what is timed is how fast batches can be had. Sides take turns; medians, and their ratio.
"""

import argparse
import statistics
import tempfile
import time

import numpy as np

from mlsd_jax.data.algorithmic import Addition, answer_batches
from mlsd_jax.data.batches import Stream, drawn, shuffled, slices
from mlsd_jax.data.documents import Document
from mlsd_jax.data.prepare import prepare
from mlsd_jax.data.sources import Source
from mlsd_jax.data.tokens import TokenBatches, TokenDataset
from mlsd_jax.encoder.examples import masker
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate
from mlsd_jax.recsys.stages import tower_examples, towers
from mlsd_jax.tokenizers import ByteTokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer


def recommender() -> dict[str, tuple[Stream, int]]:
  """Sizes of configs/recsys/_base.py."""
  made = generate(SyntheticConfig(num_users=500, num_items=500, events_per_user=40, weeks=20)).dataset
  data, spans = tower_examples.make_examples(made, weeks.list_cuts(made, 1)[0], 8, factor_dim=64)
  model = {'embed_dim': 128, 'hidden_dim': 128, 'history_length': 64, 'sequence_length': 32, 'history_code': 0}
  rng = np.random.default_rng(0)
  groups = {
    'dense': rng.random((4000, 96, 40), np.float32),
    'item': rng.integers(0, 2000, (4000, 96), np.int32),
    'bag': rng.integers(0, 2000, (4000, 16), np.int32),
    'labels': rng.random((4000, 96, 3), np.float32),
    'weights': np.ones((4000, 96), np.float32),
  }
  towers_of = tower_examples.TowerBatches(data, spans, towers.make_model_config(data, model), 1024)
  return {'recsys towers': (towers_of, 1024), 'recsys ranker': (slices(groups, 32), 32)}


def encoder() -> dict[str, tuple[Stream, int]]:
  """Sizes of configs/retrieval/_base.py, and BERT's masked words."""
  rng = np.random.default_rng(0)
  pairs = {
    'pairs': rng.integers(0, 30_000, (16_000, 4, 96), np.int32),
    'firsts': np.full((16_000, 4), 12, np.int32),
    'targets': np.zeros((16_000, 4), np.float32),
    'weights': np.ones(16_000, np.float32),
  }
  words = WordPieceTokenizer.train(['a few words to begin with'] * 3, 60)
  texts = {'tokens': rng.integers(5, words.vocab_size, (16_000, 128), np.int32)}
  return {
    'encoder pairs': (shuffled(pairs, 16), 16),
    'encoder masked words': (shuffled(texts, 32, arrange=masker(words)), 32),
  }


def text(folder: str) -> dict[str, tuple[Stream, int]]:
  source = Source('letters', '', '', lambda: iter([Document('one', 'abcdefgh' * 2**19)]), lambda: 'fixed')
  prepare(source, ByteTokenizer(), folder, split='contiguous')
  names = {'tokens': np.zeros((25_626, 17), np.int32), 'weights': np.ones((25_626, 16), np.float32)}
  return {
    'tokens 16 x 128': (TokenBatches(TokenDataset.open(folder, 'train'), 16, 128), 16),
    'tokens 32 x 1024': (TokenBatches(TokenDataset.open(folder, 'train'), 32, 1024), 32),
    'names': (drawn(names, 32), 32),
    'addition': (answer_batches(Addition(digits=2), 64), 64),
  }


def rate(stream: Stream, ahead: bool, seconds: float) -> float:
  """Batches a second."""
  batches = Stream(stream.batch, ahead=ahead).batches()
  for _ in range(3):  # permutations are drawn, the thread is started
    next(batches)
  number, began = 0, time.perf_counter()
  while time.perf_counter() - began < seconds:
    next(batches)
    number += 1
  taken = time.perf_counter() - began
  batches.close()
  return number / taken


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--seconds', type=float, default=1.0, help='of each side in each round')
  parser.add_argument('--rounds', type=int, default=5)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    print(f'{"":<22} {"plain":>14} {"grain":>14}   plain / grain    (rows a second, medians of {options.rounds})')
    for name, (stream, rows) in (encoder() | text(folder) | recommender()).items():
      rates = [[rate(stream, ahead, options.seconds) for ahead in (False, True)] for _ in range(options.rounds)]
      plain, grain = (rows * statistics.median(side) for side in zip(*rates, strict=True))
      print(f'{name:<22} {plain:14,.0f} {grain:14,.0f} {plain / grain:15.2f}', flush=True)


if __name__ == '__main__':
  main()
