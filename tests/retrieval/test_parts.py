"""Embeddings and shards of a corpus by parts: what one index holds, to the bit, whoever makes them."""

import functools
import json

import numpy as np
import pytest

from mlsd_jax.encoder import model_folder
from mlsd_jax.encoder.encoder import load_encoder
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig
from mlsd_jax.retrieval.build import Embedding, _remade
from mlsd_jax.retrieval.chunking import ChunkConfig
from mlsd_jax.retrieval.embeddings import EmbeddingStore
from mlsd_jax.retrieval.index_shards import build_shards, left_out
from mlsd_jax.serving.shard_search import Shards

CHUNK = ChunkConfig(max_tokens=40, overlap=0, min_tokens=10)


@pytest.fixture
def make_encoder(encoder, tmp_path):
  """The encoder of these tests as other processes make it."""
  model_folder.save(encoder.model, tmp_path / 'model')
  return functools.partial(load_encoder, tmp_path / 'model')


@pytest.fixture
def corpus(tmp_path):
  folder = tmp_path / 'corpus'
  folder.mkdir()
  for number in range(7):
    text = ' '.join(f'word {number} of line {line}.' for line in range(10 * number + 3))
    (folder / f'{number}.md').write_text(f'# Page {number}\n\n{text}\n')
  (folder / 'empty.md').write_text('')
  return folder


def test_shards_hold_each_chunk_once_however_many_there_are(corpus, make_encoder, tmp_path):
  several = build_shards(str(corpus), tmp_path / 'several', make_encoder, number=3, chunk=CHUNK)
  one = build_shards(str(corpus), tmp_path / 'one', make_encoder, number=1, chunk=CHUNK)
  assert (len(several.seals), len(one.seals)) == (3, 1)
  assert sum(note['pages'] for note in several.notes.values()) == 7
  assert left_out(several) == ['left out, as it has no text: empty.md']
  queries = make_encoder().encode(['word 3', 'line 20'], 'query')
  found, wanted = (Shards.open(each, list(each.seals)).search(queries, 20) for each in (several, one))
  for hits, others in zip(found, wanted, strict=True):
    assert {hit['id'] for hit in hits} == {hit['id'] for hit in others}
    np.testing.assert_allclose([hit['score'] for hit in hits], [hit['score'] for hit in others], atol=1e-5)
    assert all(hit['page'].endswith('.md') and hit['text'] for hit in hits)
  assert build_shards(str(corpus), tmp_path / 'several', make_encoder, number=3, chunk=CHUNK).made == 0
  (corpus / '3.md').write_text('# Another page\n\nwith words.\n')
  with pytest.raises(UserError, match='parts of something else'):
    build_shards(str(corpus), tmp_path / 'several', make_encoder, number=3, chunk=CHUNK)


def test_one_file_is_cut_by_pages(make_encoder, tmp_path):
  rows = [{'id': f'p{i}', 'title': f'Page {i}', 'text': f'words of {i}'} for i in range(10)]
  (tmp_path / 'pages.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  parts = build_shards(str(tmp_path / 'pages.jsonl'), tmp_path / 'out', make_encoder, number=4, chunk=CHUNK)
  assert [note['pages'] for note in parts.notes.values()] == [3, 3, 2, 2]


@pytest.mark.slow
def test_processes_embed_what_this_one_does_to_the_bit(encoder, make_encoder, tmp_path, monkeypatch):
  monkeypatch.setenv('JAX_DISABLE_MOST_OPTIMIZATIONS', 'true')  # as tests/conftest.py has it for this process
  texts = [f'a text of {number} words ' * (1 + number % 9) for number in range(50)]
  found = []
  for embedding in (Embedding(), Embedding(ExecutorConfig('processes', workers=2), make_encoder)):
    store = EmbeddingStore(tmp_path / embedding.executor.kind, pytest.fail)
    made = store.embed(
      texts, embedding.make_encode(encoder), shard_size=16, on_texts=lambda _: None, config=embedding.executor
    )
    assert made == 50
    found.append(store.vectors(texts))
  np.testing.assert_array_equal(*found)


def test_an_encoder_of_other_files_is_refused(encoder, make_encoder):
  assert _remade(make_encoder, encoder.fingerprint)(['a']).shape == (1, encoder.dim)
  with pytest.raises(UserError, match='is not the one here'):
    _remade(make_encoder, 'another')
  with pytest.raises(UserError, match="executor 'ray' needs an encoder that other processes can make"):
    Embedding(ExecutorConfig('ray')).make_encode(encoder)
