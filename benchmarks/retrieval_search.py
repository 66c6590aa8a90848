"""Milliseconds a query of every stage but the reranker, on one core, over as many chunks as asked for.

    uv run python benchmarks/retrieval_search.py --chunks=1000000

Text and vectors are made, the encoder and the indexes are real. Words are drawn by Zipf's law out of 500,000, 100 a
chunk and ten chunks a page; a query has three to nine of them, common ones included; vectors are those of
benchmarks/ann.py. The process keeps to one core before JAX starts. BM25 over pages and chunks, encoding of the query
by all-MiniLM-L6-v2, the search of the vectors and the fusion are timed as in `Searcher`; the answer is its three
sentences out of the first five pages, whose texts are the chunks' words in sentences of ten, read for the first time.
`processor` is the processor time of the same queries, which hardly depends on what else the machine does.
"""

import argparse
import gc
import os
import pathlib
import tempfile
import time
from typing import Any

import numpy as np


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--chunks', type=int, default=100_000)
  parser.add_argument('--queries', type=int, default=500)
  parser.add_argument('--seed', type=int, default=0)
  options = parser.parse_args()
  rng = np.random.default_rng(options.seed)
  began = time.perf_counter()
  pages = max(options.chunks // 10, 1)
  owner = np.sort(rng.integers(0, pages, options.chunks)).astype(np.int32)
  owner = np.unique(owner, return_inverse=True)[1].astype(np.int32)
  ids = words(rng, (options.chunks, 100))
  chunks = index_words(ids)
  starts = np.searchsorted(owner, np.arange(owner[-1] + 1))
  whole = index_words(np.split(ids, starts[1:]))
  print(
    f'BM25 of {options.chunks:,} chunks and {len(starts):,} pages built in {time.perf_counter() - began:.0f} s',
    flush=True,
  )
  began = time.perf_counter()
  vectors = vector_index(options.chunks)
  print(f'vectors indexed in {time.perf_counter() - began:.0f} s', flush=True)

  os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})
  from mlsd_jax.encoder.encoder import load_encoder
  from mlsd_jax.retrieval import answers
  from mlsd_jax.retrieval.search import SearchConfig, Searcher

  store = MadeStore(ids, whole, chunks, vectors, owner, starts)
  searcher = Searcher(store, load_encoder(), SearchConfig())  # type: ignore[arg-type]
  queries = [' '.join(f'w{word}' for word in words(rng, rng.integers(3, 10))) for _ in range(options.queries)]
  for query in queries[:20]:
    answers.answer(searcher, query, searcher.search(query))
  gc.collect()
  gc.freeze()  # as experiments.serve does when all is loaded
  laps = []
  for query in queries[20:]:
    spent = time.process_time()
    found = searcher.search(query)
    began = time.perf_counter()
    said = answers.answer(searcher, query, found)
    assert said.citations
    lap = {**found.milliseconds, 'answer': 1000 * (time.perf_counter() - began)}
    laps.append(lap | {'in all': sum(lap.values()), 'processor': 1000 * (time.process_time() - spent)})
  print(f'{len(laps)} queries, one core, milliseconds\n{"":<10}{"p50":>8}{"p95":>8}{"p99":>8}')
  for name in laps[0]:
    print(f'{name:<10}' + ''.join(f'{np.percentile([lap[name] for lap in laps], q):8.1f}' for q in (50, 95, 99)))


class MadeStore:
  """What `Searcher` and `answer` need of a store: pages of chunks of a hundred words each."""

  def __init__(self, ids: np.ndarray, pages: Any, chunks: Any, vectors: Any, owner: np.ndarray, starts: np.ndarray):
    self._ids = ids
    self.bm25_pages, self.bm25_chunks, self.vectors = pages, chunks, vectors
    self.owner, self.starts = owner, starts
    self.folders, self.groups = [''] * len(starts), np.arange(len(starts))
    self.num_chunks = len(owner)

  def rows(self, ids: np.ndarray) -> np.ndarray:
    return ids

  def _chunk_words(self, row: int) -> str:
    sentences = self._ids[row].reshape(-1, 10).tolist()
    return ' '.join(' '.join(f'w{word}' for word in sentence).capitalize() + '.' for sentence in sentences)

  def page(self, number: int) -> Any:
    from mlsd_jax.retrieval.page import Page

    first = int(self.starts[number])
    last = int(self.starts[number + 1]) if number + 1 < len(self.starts) else self.num_chunks
    text = ' '.join(self._chunk_words(row) for row in range(first, last))
    return Page(str(number), f'Page {number}', text)

  def chunk(self, row: int) -> Any:
    from mlsd_jax.retrieval.chunking import Chunk

    lengths = [len(self._chunk_words(each)) + 1 for each in range(int(self.starts[self.owner[row]]), row + 1)]
    return Chunk(sum(lengths[:-1]), sum(lengths) - 1)


def words(rng: np.random.Generator, shape) -> np.ndarray:
  """Numbers of words by Zipf's law, the 50 commonest (stop words) left out."""
  ranks = np.exp(rng.uniform(np.log(50), np.log(500_000), shape))
  return ranks.astype(np.int32)


def index_words(texts) -> Any:
  """A BM25 index of texts that are arrays of word numbers, under the names w0, w1, ..."""
  from mlsd_jax.retrieval.bm25 import BM25, BM25Config, Postings

  names = {f'w{number}': number for number in range(500_001)}
  return BM25([(Postings.of((np.ravel(text).tolist() for text in texts), names), None)], BM25Config(stem=False))


def vector_index(count: int):
  from ann import write_vectors

  from mlsd_jax.ann import Index

  with tempfile.TemporaryDirectory() as name:
    path = pathlib.Path(name, 'vectors.npy')
    write_vectors(path, 'clustered', count, 384, 1)
    Index.build(np.load(path, mmap_mode='r'), folder=pathlib.Path(name, 'index'))
    index = Index.open(pathlib.Path(name, 'index'), verify=False)
    index.search(np.load(path, mmap_mode='r')[:100], 10)  # while the files are there, everything is mapped
    return index


if __name__ == '__main__':
  main()
