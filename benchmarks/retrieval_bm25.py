"""BM25 beside bm25s: processor time of a query on one core, terms included, over the same texts, by turns.

    uv run --with bm25s --with PyStemmer python benchmarks/retrieval_bm25.py [--texts=scifact]

bm25s scores as it does by itself (NumPy), with Snowball's stemmer and its English stop words; both give the first 100.
Stems and stop words are the same, what is a word is not (mlsd_jax/retrieval/terms.py), so rankings differ a little.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import record

PEER = r"""
import bm25s, json, pathlib, sys, time, Stemmer
job = json.loads(pathlib.Path('job.json').read_text())
stem = Stemmer.Stemmer('english')
words = lambda texts: bm25s.tokenize(texts, stopwords='en', stemmer=stem, show_progress=False)
index = bm25s.BM25()
index.index(words(job['texts']), show_progress=False)
index.save('bm25s')
index = bm25s.BM25.load('bm25s', mmap=True)
search = lambda query: index.retrieve(words(query), k=100, show_progress=False)[0][0].tolist()
print(json.dumps([search(query)[:10] for query in job['queries']]), flush=True)
for _ in sys.stdin:
  began = time.process_time()
  for query in job['queries']:
    search(query)
  print((time.process_time() - began) / len(job['queries']), flush=True)
"""


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--peer_python', default=sys.executable, help='an interpreter with bm25s and PyStemmer')
  parser.add_argument('--texts', default='scifact', help='a judged collection')
  parser.add_argument('--queries', type=int, default=300)
  parser.add_argument('--runs', type=int, default=5)
  options = parser.parse_args()
  os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[0]})  # the peer inherits it
  from mlsd_jax.retrieval.bm25 import BM25, BM25Config
  from mlsd_jax.retrieval.judged_collections import open_collection

  read, asked = open_collection(options.texts, lambda _: None)
  if asked is None:
    raise SystemExit(f'{options.texts} has no queries')
  texts = [f'{page.title}\n{page.text}' for page in read]
  queries = list(asked.queries.values())[: options.queries]
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / 'job.json').write_text(json.dumps({'texts': texts, 'queries': queries}))
    BM25.build(texts, BM25Config()).save(folder / 'ours')
    index = BM25.open(folder / 'ours')
    first = [index.search(query, 100)[0].tolist()[:10] for query in queries]
    with subprocess.Popen(
      [options.peer_python, '-c', PEER], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
      assert peer.stdin is not None
      assert peer.stdout is not None
      theirs = json.loads(peer.stdout.readline() or sys.exit('the peer died'))
      laps: dict[str, list[float]] = {'ours': [], 'bm25s': []}
      for _ in range(options.runs):
        peer.stdin.write('\n')
        peer.stdin.flush()
        laps['bm25s'].append(float(peer.stdout.readline()))
        began = time.process_time()
        for query in queries:
          index.search(query, 100)
        laps['ours'].append((time.process_time() - began) / len(queries))
      peer.stdin.close()
  shared = statistics.mean(len({*a} & {*b}) / 10 for a, b in zip(first, theirs, strict=True))
  ours, other = (statistics.median(laps[side]) for side in ('ours', 'bm25s'))
  print(f'{options.texts}: {len(texts):,} texts, {len(queries)} queries, {shared:.2f} of the first ten shared')
  print(f'ours {1e6 * ours:.0f} us a query, bm25s {1e6 * other:.0f} us: {other / ours:.2f} times as fast')
  mine, others = ([1e6 * seconds for seconds in laps[side]] for side in ('ours', 'bm25s'))
  record.pair(f'BM25, {options.texts}, a query', mine, others, against='bm25s', unit='us')


if __name__ == '__main__':
  main()
