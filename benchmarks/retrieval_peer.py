"""Our search beside sentence-transformers, bm25s and reciprocal rank fusion in thirty lines, with the same weights.

    uv run python benchmarks/retrieval_peer.py --peer_python=PATH --collections xquad.en.first16.json cranfield scifact

Both sides get the same pages and queries, one after the other in one run, a page as one text cut at 256 tokens. The
peer answers with the sentences of its first five pages whose embeddings are nearest, ours with its citations; an answer
hits where it holds a right text (SQuAD's JSON says which). ms: median of a query without the answer, and of the answer.
MB: what lies on disk, of the peer the arrays of its vectors and scores.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time
from typing import Any

import numpy as np
import record

FOLDS = 5  # of the queries, for the spread of the ratio
PEER = r"""
import json, re, sys, time
import bm25s, numpy as np, Stemmer
from sentence_transformers import SentenceTransformer

job = json.load(open('job.json'))
ids, texts = [id for id, _ in job['pages']], [text for _, text in job['pages']]
model = SentenceTransformer(job['encoder'], device='cpu')
model.max_seq_length = 256
vectors = model.encode(texts, normalize_embeddings=True)
stem = Stemmer.Stemmer('english')
lexical = bm25s.BM25()
lexical.index(bm25s.tokenize(texts, stopwords='en', stemmer=stem, show_progress=False), show_progress=False)
found, spent, answers, answering = {}, [], {}, []
for id, query in job['queries'].items():
  began = time.perf_counter()
  vector = model.encode(query, normalize_embeddings=True)
  words = bm25s.tokenize(query, stopwords='en', stemmer=stem, show_progress=False)
  sparse, _ = lexical.retrieve(words, k=min(100, len(texts)), show_progress=False)
  dense = np.argsort(-(vectors @ vector))[:100]
  scores = {}
  for ranking in (sparse[0].tolist(), dense.tolist()):
    for rank, row in enumerate(ranking, 1):
      scores[row] = scores.get(row, 0) + 1 / (60 + rank)
  order = sorted(scores, key=scores.get, reverse=True)
  spent.append(time.perf_counter() - began)
  found[id] = [ids[row] for row in order[:100]]
  if id in job['answered']:
    began = time.perf_counter()
    sentences = [s for row in order[:5] for s in re.split(r'(?<=[.!?])\s+', texts[row]) if s]
    near = np.argsort(-(model.encode(sentences, normalize_embeddings=True) @ vector))[:3]
    answering.append(time.perf_counter() - began)
    answers[id] = [sentences[i] for i in near]
size = vectors.nbytes + sum(array.nbytes for array in lexical.scores.values() if hasattr(array, 'nbytes'))
json.dump(dict(found=found, ms=spent, answers=answers, answering=answering, bytes=size), open('found.json', 'w'))
"""


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    '--peer_python', required=True, help='an interpreter with sentence-transformers, bm25s, PyStemmer'
  )
  parser.add_argument('--collections', nargs='+', default=['xquad.en.first16.json', 'cranfield', 'scifact'])
  parser.add_argument('--queries', type=int, default=0, help='only so many of each; 0: all')
  options = parser.parse_args()
  from mlsd_jax.encoder import model_folder
  from mlsd_jax.ranking_measures import per_query
  from mlsd_jax.resampling import sign_flip_p
  from mlsd_jax.retrieval.judged_collections import open_collection

  print(f'{"collection":<24}{"":<7}{"ndcg@10":>9}{"answer@1":>10}{"@3":>7}{"ms":>8}{"answer":>8}{"MB":>8}')
  for name in options.collections:
    read, asked = open_collection(name, lambda _: None)
    if asked is None:
      raise SystemExit(f'{name} has no judgements')
    pages = list(read)
    queries = dict(list(asked.queries.items())[: options.queries or None])
    job = {
      'pages': [(page.id, f'{page.title}\n{page.text}'.strip()) for page in pages],
      'queries': queries,
      'answered': list(asked.answers),
      'encoder': str(model_folder.source_folder(model_folder.MINILM)),
    }
    sides = {'ours': ours(pages, queries, asked.answers), 'peer': peer(job, options.peer_python)}
    judged = {id_: asked.judgements[id_] for id_ in queries}
    values = {side: per_query(got['found'], judged, 'ndcg@10') for side, got in sides.items()}
    for side, got in sides.items():
      hits = [hit_at(got['answers'], asked.answers, first) for first in (1, 3)]
      told = ''.join(
        f'{"-" if hit is None else f"{hit:.3f}":>{width}}' for hit, width in zip(hits, (10, 7), strict=True)
      )
      answer = f'{1000 * np.median(got["answering"]):8.1f}' if got['answering'] else f'{"-":>8}'
      print(
        f'{name if side == "ours" else "":<24}{side:<7}{values[side].mean():9.4f}{told}'
        f'{1000 * np.median(got["ms"]):8.1f}{answer}{got["bytes"] / 2**20:8.1f}',
        flush=True,
      )
    taken = [
      [1000 * float(np.median(got['ms'][fold::FOLDS])) for fold in range(FOLDS)]
      for got in (sides['ours'], sides['peer'])
    ]
    record.pair(f'a query of {name}', *taken, against='MiniLM by PyTorch, bm25s, rank fusion', unit='ms')
    print(f'{"":<24}nDCG@10 p {sign_flip_p(values["ours"] - values["peer"]):.4f}, {len(queries):,} queries', flush=True)


def ours(pages: Any, queries: dict[str, str], answered: Any) -> dict[str, Any]:
  from mlsd_jax.encoder.encoder import load_encoder
  from mlsd_jax.retrieval import answers
  from mlsd_jax.retrieval.build import BuildConfig, build_store
  from mlsd_jax.retrieval.chunking import ChunkConfig
  from mlsd_jax.retrieval.search import SearchConfig, Searcher
  from mlsd_jax.retrieval.store import open_store

  encoder = load_encoder(max_length=256)
  with tempfile.TemporaryDirectory() as folder:
    index = pathlib.Path(folder, 'index')
    build_store(pages, index, encoder, BuildConfig(chunk=ChunkConfig(max_tokens=0)))
    searcher = Searcher(open_store(index, encoder), encoder, SearchConfig())
    for query in {encoder.count_tokens(query) // 16: query for query in queries.values()}.values():
      searcher.search(query)  # compiles
    got: dict[str, Any] = {'found': {}, 'ms': [], 'answers': {}, 'answering': []}
    for id_, query in queries.items():
      began = time.perf_counter()
      found = searcher.search(query)
      got['ms'].append(time.perf_counter() - began)
      got['found'][id_] = [searcher.store.page_ids[hit.page] for hit in found.hits]
      if id_ in answered:
        began = time.perf_counter()
        said = answers.answer(searcher, query, found)
        got['answering'].append(time.perf_counter() - began)
        got['answers'][id_] = [each.text for each in said.citations]
    generation = searcher.store.folder
    got['bytes'] = sum(path.stat().st_size for path in generation.rglob('*') if path.is_file())
  return got


def peer(job: dict[str, Any], python: str) -> dict[str, Any]:
  with tempfile.TemporaryDirectory() as folder:
    pathlib.Path(folder, 'job.json').write_text(json.dumps(job))
    done = subprocess.run([python, '-c', PEER], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
      raise SystemExit(done.stderr[-2000:])
    return json.loads(pathlib.Path(folder, 'found.json').read_text())


def hit_at(said: dict[str, list[str]], right: Any, first: int) -> float | None:
  """Share of questions of which a right text stands in one of the first citations."""
  if not said:
    return None
  spaced = lambda text: ' '.join(text.split())
  return float(
    np.mean([any(spaced(r) in spaced(text) for text in own[:first] for r in right[id_]) for id_, own in said.items()])
  )


if __name__ == '__main__':
  main()
