"""Weights in and out: Hugging Face's layout under its various names, and one clear line for what is wrong."""

import dataclasses
import functools
import http.server
import json
import shutil
import sys
import threading

import jax
import numpy as np
import pytest
import safetensors.numpy

from mlsd_jax.encoder import model_folder
from mlsd_jax.encoder.model_folder import Loaded
from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

TOKENIZER = WordPieceTokenizer.train(['a few words to begin with'] * 3, 40)
CONFIG = bert.BertConfig(
  vocab_size=TOKENIZER.vocab_size, context_length=12, num_layers=2, num_heads=2, embed_dim=8, mlp_dim=12
)


def model(heads=(), **usage):
  config = dataclasses.replace(CONFIG, heads=heads)
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: bert.init(jax.random.key(0), config))
  params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)
  usage = {'pooling': 'mean', 'max_length': 10, 'query_prefix': '', 'passage_prefix': ''} | usage
  return Loaded('small', params, config, TOKENIZER, **usage)


@pytest.fixture
def folder(tmp_path):
  return model_folder.save(model(('pooler',)), tmp_path / 'small')


def edit_tensors(folder, change):
  path = folder / 'model.safetensors'
  tensors = safetensors.numpy.load_file(path)
  tensors = change(tensors) or tensors
  safetensors.numpy.save_file(tensors, path)


def edit_config(folder, **values):
  path = folder / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | values))


def same(left, right):
  return jax.tree.all(jax.tree.map(np.array_equal, left, right))


@pytest.mark.parametrize('heads', [(), ('pooler',), ('mlm',), ('pooler', 'score'), ('pooler', 'mlm', 'score')])
def test_what_was_saved_loads_again(tmp_path, heads):
  saved = model(heads, pooling='cls', query_prefix='ask: ', passage_prefix='told: ')
  loaded = model_folder.load(model_folder.save(saved, tmp_path / 'small'))
  assert same(loaded.params, saved.params)
  assert loaded.config == saved.config
  assert loaded.tokenizer.fingerprint == TOKENIZER.fingerprint
  assert (loaded.max_length, loaded.query_prefix, loaded.passage_prefix) == (10, 'ask: ', 'told: ')
  if 'score' not in heads:
    assert loaded.pooling == 'cls'


def test_names_are_hugging_faces(folder):
  tensors = safetensors.numpy.load_file(folder / 'model.safetensors')
  params = model_folder.load(folder).params
  query = tensors['encoder.layer.1.attention.self.query.weight']
  assert query.shape == (8, 8)
  np.testing.assert_array_equal(query.T.reshape(8, 2, 4), params['blocks']['1']['qkv']['kernel'][:, 0])
  np.testing.assert_array_equal(
    tensors['encoder.layer.0.output.dense.weight'], params['blocks']['0']['down']['kernel'].T
  )


def test_prefixes_buffers_and_old_names_are_understood(folder):
  wanted = model_folder.load(folder).params

  def change(tensors):
    renamed = {f'bert.{name}'.replace('LayerNorm.weight', 'LayerNorm.gamma'): x for name, x in tensors.items()}
    renamed['bert.embeddings.position_ids'] = np.arange(12)[None]
    renamed['cls.seq_relationship.weight'] = np.zeros((2, 8), np.float32)
    return renamed

  edit_tensors(folder, change)
  assert same(model_folder.load(folder).params, wanted)


def test_a_vocabulary_in_tokenizer_json(folder):
  (folder / 'vocab.txt').unlink()
  vocabulary = dict(reversed(TOKENIZER.ids.items()))
  content = {'model': {'type': 'WordPiece', 'vocab': vocabulary}, 'normalizer': {'lowercase': True}}
  (folder / 'tokenizer.json').write_text(json.dumps(content))
  assert model_folder.load(folder).tokenizer.fingerprint == TOKENIZER.fingerprint


def with_tokenizer(folder, **changes):
  """A tokenizer.json as BERT's models have it, but for `changes`, in place of vocab.txt."""
  (folder / 'vocab.txt').unlink()
  content = {
    'truncation': {'direction': 'Right', 'max_length': 5, 'strategy': 'LongestFirst', 'stride': 0},
    'padding': {'strategy': {'Fixed': 128}, 'direction': 'Right', 'pad_id': 0, 'pad_token': '[PAD]'},
    'added_tokens': [{'id': 0, 'special': True, 'content': '[PAD]', 'normalized': False}],
    'normalizer': {'type': 'BertNormalizer', 'clean_text': True, 'handle_chinese_chars': True, 'lowercase': True},
    'pre_tokenizer': {'type': 'BertPreTokenizer'},
    'model': {'type': 'WordPiece', 'vocab': TOKENIZER.ids, 'unk_token': '[UNK]', 'max_input_chars_per_word': 100},
  }
  for key, values in changes.items():
    content[key] = content[key] | values if isinstance(values, dict) else values
  (folder / 'tokenizer.json').write_text(json.dumps(content))


def test_lengths_of_tokenizer_json_are_not_the_models(folder):
  """As of sentence-transformers: what cuts texts is the model's own length."""
  with_tokenizer(folder)
  loaded = model_folder.load(folder)
  assert loaded.tokenizer.fingerprint == TOKENIZER.fingerprint
  assert loaded.max_length == 10


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'normalizer': {'strip_accents': False}}, 'strip_accents=False'),
    ({'normalizer': {'handle_chinese_chars': False}}, 'handle_chinese_chars=False'),
    ({'normalizer': {'clean_text': False}}, 'clean_text=False'),
    ({'normalizer': {'type': 'NFKC'}}, "type='NFKC'"),
    ({'pre_tokenizer': {'type': 'Whitespace'}}, "type='Whitespace'"),
    ({'model': {'unk_token': '<unk>'}}, "unk_token='<unk>'"),
    ({'model': {'max_input_chars_per_word': 20}}, 'max_input_chars_per_word=20'),
    ({'model': {'type': 'BPE'}}, "type='BPE'"),
    ({'truncation': {'direction': 'Left'}}, 'truncation_side=left'),
    ({'added_tokens': [{'id': 40, 'content': 'COVID', 'special': False}]}, "adds the word 'COVID'"),
  ],
)
def test_a_tokenizer_that_would_give_other_ids_is_refused(folder, changes, message):
  with_tokenizer(folder, **changes)
  with pytest.raises(UserError, match=message) as raised:
    model_folder.load(folder)
  assert '\n' not in str(raised.value)


@pytest.mark.parametrize('setting', [{'strip_accents': False}, {'tokenize_chinese_chars': False}])
def test_settings_beside_a_vocabulary_are_held(folder, setting):
  path = folder / 'tokenizer_config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | setting))
  with pytest.raises(UserError, match=f'{next(iter(setting))}=False; of a WordPiece tokenizer only True is read'):
    model_folder.load(folder)


@pytest.mark.parametrize(
  ('name', 'prefixes'),
  [
    ('e5-base-v2', ('query: ', 'passage: ')),
    ('intfloat--e5-small-v2', ('query: ', 'passage: ')),
    ('bge-small-en-v1.5', ('Represent this sentence for searching relevant passages: ', '')),
    ('other', ('', '')),
  ],
)
def test_prefixes_by_model(folder, tmp_path, name, prefixes):
  renamed = shutil.copytree(folder, tmp_path / name)
  loaded = model_folder.load(renamed)
  assert (loaded.query_prefix, loaded.passage_prefix) == prefixes


DAMAGES = {
  'missing tensor': (lambda t: t.pop('encoder.layer.1.output.dense.bias') * 0, 'lacks the tensor encoder.layer.1.out'),
  'half a head': (lambda t: t.pop('pooler.dense.bias') * 0, 'lacks the tensor pooler.dense.bias'),
  'extra tensor': (lambda t: t.update(more=np.zeros(2, np.float32)), 'holds the tensor more, which is none of'),
  'extra layer': (
    lambda t: t.update({'encoder.layer.2.output.dense.bias': np.zeros(8, np.float32)}),
    'holds the tensor encoder.layer.2.output.dense.bias',
  ),
  'wrong shape': (
    lambda t: t.update({'embeddings.word_embeddings.weight': np.zeros((3, 8), np.float32)}),
    r'has shape \(3, 8\), but its config.json calls for',
  ),
  'not finite': (
    lambda t: t.update({'embeddings.LayerNorm.bias': np.full(8, np.nan, np.float32)}),
    'holds values that are not finite',
  ),
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_tensors_that_do_not_fit_are_named(folder, damage):
  change, message = DAMAGES[damage]
  edit_tensors(folder, lambda tensors: (change(tensors), None)[1])
  with pytest.raises(UserError, match=message):
    model_folder.load(folder)


def cut_short(folder):
  path = folder / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:-100])


BROKEN = {
  'cut short': (cut_short, 'is damaged or no safetensors file'),
  'no weights': (lambda f: (f / 'model.safetensors').unlink(), 'no such file'),
  'no config': (lambda f: (f / 'config.json').unlink(), 'no such file'),
  'config is a list': (lambda f: (f / 'config.json').write_text('[]'), 'is not a JSON object'),
  'no vocabulary': (lambda f: (f / 'vocab.txt').unlink(), 'has neither vocab.txt nor tokenizer.json'),
  'other architecture': (lambda f: edit_config(f, model_type='roberta'), "model_type='roberta'; only 'bert'"),
  'other activation': (lambda f: edit_config(f, hidden_act='relu'), "hidden_act='relu'; only 'gelu'"),
  'no size': (lambda f: edit_config(f, hidden_size='8'), "no whole number for hidden_size, but '8'"),
  'uneven heads': (lambda f: edit_config(f, num_attention_heads=3), 'not divisible by num_heads 3'),
  'larger vocabulary': (
    lambda f: (f / 'vocab.txt').write_text('\n'.join([*TOKENIZER.vocabulary, 'one', 'more'])),
    'pieces in its vocabulary but',
  ),
  'other pooling': (
    lambda f: (f / '1_Pooling' / 'config.json').write_text('{"pooling_mode_max_tokens": true}'),
    'neither mean nor cls',
  ),
  'no length': (lambda f: (f / 'sentence_bert_config.json').write_text('{"max_seq_length": 1}'), 'max_seq_length'),
}


@pytest.mark.parametrize('damage', BROKEN)
def test_damaged_folders_are_refused_in_one_line(folder, damage):
  change, message = BROKEN[damage]
  change(folder)
  with pytest.raises(UserError, match=message) as raised:
    model_folder.load(folder)
  assert '\n' not in str(raised.value)


def test_other_files_are_not_overwritten(folder):
  (folder / 'mine.txt').write_text('')
  with pytest.raises(UserError, match='is no earlier export'):
    model_folder.save(model(), folder)
  (folder / 'mine.txt').unlink()
  model_folder.save(model(), folder)
  assert model_folder.load(folder).config.heads == ()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
  def log_message(self, *_):
    pass


def test_a_hub_models_files_are_fetched_once(folder, tmp_path, monkeypatch):
  """Those that a model need not have are not asked for again either: the second time there is no hub."""
  main = tmp_path / 'hub' / 'intfloat' / 'e5-small-v2' / 'resolve' / 'main'
  shutil.copytree(folder, main)
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'cache'))
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)  # as where it is not installed
  handler = functools.partial(QuietHandler, directory=tmp_path / 'hub')
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{server.server_port}')
    first = model_folder.load('intfloat/e5-small-v2')
    server.shutdown()
    thread.join()
  again = model_folder.load('intfloat/e5-small-v2')
  assert same(first.params, again.params)
  assert (again.query_prefix, again.max_length) == ('query: ', 10)
  with pytest.raises(UserError, match='hub model of that name cannot be downloaded'):
    model_folder.load('intfloat/e5-base-v2')
