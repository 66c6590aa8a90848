"""Encoding speed: our fast path beside tiktoken's own, our readable path beside minbpe's, in one run.

    python benchmarks/tokenizer_encode.py --minbpe=PATH_OF_A_CLONE

Both sides of a pair hold the same merges, give the same ids (checked) and take turns; medians are shown.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence

from mlsd_jax.data.sources import open_source
from mlsd_jax.tokenizers import BPETokenizer, TiktokenTokenizer


def seconds(sides: dict[str, Callable[[], Sequence[int]]], runs: int) -> dict[str, float]:
  """Median seconds of each side; all must return the same ids."""
  taken: dict[str, list[float]] = {name: [] for name in sides}
  found: list[list[int]] = []
  for run in range(runs):
    for name, side in sides.items():
      began = time.perf_counter()
      ids = side()
      taken[name].append(time.perf_counter() - began)
      if run == 0:
        found.append(list(ids))
  assert all(ids == found[0] for ids in found), 'the sides give different ids'
  return {name: statistics.median(values) for name, values in taken.items()}


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
  print(f'{len(text.encode()) / 1e6:.1f} MB of {options.source}')
  for name in ('gpt2', 'cl100k_base', 'o200k_base'):
    ours = TiktokenTokenizer(name)
    theirs = ours.encoding
    sides = {'ours': lambda ours=ours: ours.encode(text), 'tiktoken': lambda e=theirs: e.encode_to_numpy(text)}
    report(name, seconds(sides, options.runs), text)
  if options.minbpe:
    sys.path.insert(0, options.minbpe)
    from minbpe import RegexTokenizer

    theirs = RegexTokenizer()
    for megabytes in options.readable:
      part = text[: int(megabytes * 1e6)]
      ours = BPETokenizer.train([part], 1024, pattern='gpt4', special_tokens=())
      theirs.merges = {pair: 256 + i for i, pair in enumerate(ours.merges)}
      sides = {
        'ours': lambda: BPETokenizer(ours.merges, pattern='gpt4').encode_readably(part),  # remembers no earlier piece
        'minbpe': lambda: theirs.encode_ordinary(part),
      }
      report(f'readable path, {megabytes} MB', seconds(sides, options.runs), part)


def report(what: str, taken: dict[str, float], text: str) -> None:
  speed = {name: len(text.encode()) / 1e6 / value for name, value in taken.items()}
  ours, theirs = speed.values()
  shown = '   '.join(f'{name} {value:.2f} MB/s' for name, value in speed.items())
  print(f'{what:<28} {shown}   ours / theirs {ours / theirs:.2f}')


if __name__ == '__main__':
  main()
