"""Encoding speed: our fast path beside tiktoken and bpe-openai, our readable path beside minbpe's, in one run.

    uv run --with bpe-openai python benchmarks/tokenizer_encode.py --minbpe=PATH_OF_A_CLONE

Both sides of a pair hold the same merges, give the same ids (checked) and take turns; medians are shown. The text is
encoded whole, and as documents of 5,000 characters, one by one and in a batch over all cores. bpe-openai is left out
where it is not installed, of whole texts, which it refuses from some length on, and of batches, as it has none.
"""

import argparse
import concurrent.futures
import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import record

from mlsd_jax.data.sources import open_source
from mlsd_jax.tokenizers import BPETokenizer, TiktokenTokenizer, fast

DOCUMENT = 5000  # characters
THREADS = len(os.sched_getaffinity(0))
type Sides = dict[str, Callable[[], Sequence]]


def seconds(sides: Sides, runs: int) -> dict[str, list[float]]:
  """Seconds of each side in each round, after one that warms up and compares: all must return the same ids."""
  found = {name: [np.asarray(ids) for ids in side()] for name, side in sides.items()}
  first = next(iter(found.values()))
  for name, ids in found.items():
    if len(ids) != len(first) or not all(map(np.array_equal, ids, first)):
      raise SystemExit(f'{name} gives different ids')
  taken: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(runs):
    for name, side in sides.items():
      began = time.perf_counter()
      side()
      taken[name].append(time.perf_counter() - began)
  return taken


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--source', default='novels')
  parser.add_argument('--megabytes', type=float, default=10.0)
  parser.add_argument('--runs', type=int, default=5)
  parser.add_argument('--readable', type=float, nargs='+', default=[0.2, 5.0], help='megabytes for the readable path')
  parser.add_argument('--minbpe', default='', help='folder of a clone of karpathy/minbpe')
  options = parser.parse_args()
  text = ''
  for document in open_source(options.source).documents():
    text += document.text
    if len(text) > options.megabytes * 1e6:
      break
  text = text[: int(options.megabytes * 1e6)]
  size = len(text.encode())
  documents = [text[start : start + DOCUMENT] for start in range(0, len(text), DOCUMENT)]
  print(f'{size / 1e6:.1f} MB of {options.source}; documents of {DOCUMENT:,} characters; {THREADS} threads in a batch')
  fast.WORTH_COMPILING = 0  # the compiled encoder from the second text on
  for name in ('gpt2', 'cl100k_base', 'o200k_base'):
    whole, one_by_one, batch = sides_of(name, text, documents)
    report(f'{name}, whole text', seconds(whole, options.runs), size)
    report(f'{name}, documents', seconds(one_by_one, options.runs), size)
    report(f'{name}, a batch', seconds(batch, options.runs), size)
  if options.minbpe:
    beside_minbpe(options, text)


def sides_of(name: str, text: str, documents: list[str]) -> tuple[Sides, Sides, Sides]:
  """Who encodes the whole text, the documents one by one, and the documents over all threads."""
  ours = TiktokenTokenizer(name)
  theirs = ours.encoding
  ours.encode(documents[0])
  fast.wait()
  whole: Sides = {'ours': lambda: [ours.encode(text)], 'tiktoken': lambda: [theirs.encode_to_numpy(text)]}
  one_by_one: Sides = {
    'ours': lambda: [ours.encode(document) for document in documents],
    'tiktoken': lambda: [theirs.encode_to_numpy(document) for document in documents],
  }
  if importlib.util.find_spec('bpe_openai') and name != 'gpt2':
    import bpe_openai

    peer = bpe_openai.get_encoding(name)
    one_by_one['bpe-openai'] = lambda: [peer.encode(document) for document in documents]

  def tiktoken_batch():
    with concurrent.futures.ThreadPoolExecutor(THREADS) as executor:
      return list(executor.map(theirs.encode_to_numpy, documents))

  return whole, one_by_one, {'ours': lambda: ours.encode_batch(documents, THREADS), 'tiktoken': tiktoken_batch}


def beside_minbpe(options: argparse.Namespace, text: str) -> None:
  sys.path.insert(0, options.minbpe)
  from minbpe import RegexTokenizer

  theirs = RegexTokenizer()
  for megabytes in options.readable:
    part = text[: int(megabytes * 1e6)]
    ours = BPETokenizer.train([part], 1024, pattern='gpt4', special_tokens=())
    theirs.merges = {pair: 256 + i for i, pair in enumerate(ours.merges)}
    sides: Sides = {
      # A tokenizer made anew remembers no earlier piece.
      'ours': lambda: [BPETokenizer(ours.merges, pattern='gpt4').encode_readably(part)],
      'minbpe': lambda: [theirs.encode_ordinary(part)],
    }
    report(f'readable path, {megabytes} MB', seconds(sides, options.runs), len(part.encode()))


def report(what: str, taken: dict[str, list[float]], size: int) -> None:
  """Prints MB/s of each side, and our ratio to the fastest of the others."""
  medians = {name: statistics.median(values) for name, values in taken.items()}
  peer = min((name for name in medians if name != 'ours'), key=lambda name: medians[name])
  shown = '   '.join(f'{name} {size / 1e6 / value:.2f} MB/s' for name, value in medians.items())
  print(f'{what:<26} {shown}   ours / {peer} {medians[peer] / medians["ours"]:.2f}', flush=True)
  ours, others = ([size / 1e6 / value for value in taken[name]] for name in ('ours', peer))
  record.pair(f'encoding, {what}', ours, others, against=peer, unit='MB/s', more_is_better=True)


if __name__ == '__main__':
  main()
