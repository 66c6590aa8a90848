"""Processor time of a BM25 query by how many texts there are, postings drawn at random.

    uv run python benchmarks/bm25_scale.py

Every word is in one text of fifty and a query has four words, as the estimates take it (estimates/retrieval.py).
"""

import argparse
import time

import numpy as np

from mlsd_jax.retrieval.bm25 import BM25, BM25Config, Postings

WORDS, SHARE = 30, 0.02


def drawn_index(texts: int, rng: np.random.Generator) -> BM25:
  each = int(texts * SHARE)
  rows = np.concatenate([np.sort(rng.integers(0, texts, each, dtype=np.int32)) for _ in range(WORDS)])
  counts = rng.integers(1, 4, len(rows), dtype=np.uint16)
  lengths = rng.integers(50, 150, texts, dtype=np.int32)
  names = {f'w{number}': number for number in range(WORDS)}
  return BM25([(Postings(names, np.arange(WORDS + 1) * each, rows, counts, lengths), None)], BM25Config())


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--texts', type=int, nargs='+', default=[1_000_000, 4_000_000, 16_000_000])
  parser.add_argument('--queries', type=int, default=20)
  given = parser.parse_args()
  for texts in given.texts:
    rng = np.random.default_rng(0)
    index = drawn_index(texts, rng)
    queries = [' '.join(f'w{word}' for word in rng.integers(0, WORDS, 4)) for _ in range(given.queries)]
    index.search(queries[0], 100)
    taken = {}
    for name, call in (('scores', index.scores), ('search', lambda query, index=index: index.search(query, 100))):
      began = time.process_time()
      for query in queries:
        call(query)
      taken[name] = (time.process_time() - began) / len(queries)
    postings = 4 * int(texts * SHARE)
    print(
      f'{texts:>12,} texts   {postings:>9,} postings scored in {taken["scores"] * 1e3:6.2f} ms, '
      f'{taken["scores"] / postings * 1e9:4.1f} ns each; with the best 100 {taken["search"] * 1e3:6.2f} ms',
      flush=True,
    )


if __name__ == '__main__':
  main()
