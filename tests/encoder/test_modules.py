"""What sentence-transformers writes beside the weights: read as it is meant, or refused by name."""

import json

import pytest

from mlsd_jax.encoder.modules import Usage, read_usage, write_usage
from mlsd_jax.errors import UserError

NEW = 'sentence_transformers.sentence_transformer.modules'


@pytest.fixture
def folder(tmp_path):
  modules = [
    {'idx': 0, 'name': '0', 'path': '', 'type': 'sentence_transformers.base.modules.transformer.Transformer'},
    {'idx': 1, 'name': '1', 'path': '1_Pooling', 'type': f'{NEW}.pooling.Pooling'},
    {'idx': 2, 'name': '2', 'path': '2_Normalize', 'type': 'sentence_transformers.base.modules.normalize.Normalize'},
  ]
  write(tmp_path / 'modules.json', modules)
  write(tmp_path / '1_Pooling' / 'config.json', {'pooling_mode': 'cls', 'include_prompt': True})
  write(tmp_path / 'config_sentence_transformers.json', {'prompts': {'query': 'q: ', 'document': 'd: '}})
  write(tmp_path / 'tokenizer_config.json', {'model_max_length': 64})
  return tmp_path


def write(path, content):
  path.parent.mkdir(exist_ok=True)
  path.write_text(json.dumps(content))


def change(path, **values):
  content = json.loads(path.read_text()) if path.exists() else {}
  write(path, content | values)


def modules(folder, change):
  path = folder / 'modules.json'
  content = json.loads(path.read_text())
  write(path, change(content) or content)


def test_usage_is_read_and_written(folder, tmp_path):
  assert read_usage(folder, 'x', 512) == Usage('cls', 64, 'q: ', 'd: ')
  change(folder / 'sentence_bert_config.json', max_seq_length=48)
  assert read_usage(folder, 'x', 32).max_length == 32
  (tmp_path / 'written').mkdir()
  write_usage(tmp_path / 'written', Usage('mean', 40, 'a', ''), 8)
  assert read_usage(tmp_path / 'written', 'e5-x', 512) == Usage('mean', 40, 'a', '')


def test_a_plain_folder_is_of_means(tmp_path):
  assert read_usage(tmp_path, 'multilingual-e5-small', 512) == Usage('mean', 512, 'query: ', 'passage: ')
  assert read_usage(tmp_path, 'hf:/models/BAAI--bge-m3', 512).query_prefix == ''
  change(tmp_path / 'tokenizer_config.json', model_max_length=10**30)
  assert read_usage(tmp_path, 'x', 512).max_length == 512


def test_a_default_prompt_stands_before_both(folder):
  path = folder / 'config_sentence_transformers.json'
  write(path, {'prompts': {'all': 'text: ', 'query': 'q: '}, 'default_prompt_name': 'all'})
  assert read_usage(folder, 'x', 512).passage_prefix == 'text: '
  assert read_usage(folder, 'x', 512).query_prefix == 'q: '


REFUSED = {
  'dense': (
    lambda f: modules(f, lambda m: m.append({'path': '3_Dense', 'type': f'{NEW}.dense.Dense'})),
    'has the module Dense; only Transformer, Pooling, Normalize',
  ),
  'order': (lambda f: modules(f, lambda m: m[::-1]), 'lists Normalize, Pooling, Transformer; a text goes through'),
  'elsewhere': (lambda f: modules(f, lambda m: m[0].update(path='0_X')), "its Transformer in the folder '0_X'"),
  'no list': (lambda f: write(f / 'modules.json', [1]), 'is no list of modules'),
  'pooling': (
    lambda f: change(f / '1_Pooling/config.json', pooling_mode='lasttoken'),
    'neither mean nor cls: lasttoken',
  ),
  'two': (
    lambda f: change(f / '1_Pooling/config.json', pooling_mode_mean_tokens=True),
    'neither mean nor cls: cls and mean',
  ),
  'prompt': (lambda f: change(f / '1_Pooling/config.json', include_prompt=False), 'include_prompt=False'),
  'lower': (lambda f: change(f / 'sentence_bert_config.json', do_lower_case=True), 'do_lower_case=True'),
  'default': (
    lambda f: change(f / 'config_sentence_transformers.json', default_prompt_name='x'),
    "default_prompt_name='x', and has no such prompt",
  ),
  'prompts': (lambda f: change(f / 'config_sentence_transformers.json', prompts={'query': 1}), 'no texts by name'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_gives_other_vectors_is_refused(folder, name):
  make, message = REFUSED[name]
  make(folder)
  with pytest.raises(UserError, match=message):
    read_usage(folder, 'x', 512)


def test_vectors_that_are_not_of_unit_length_are_refused_where_that_counts(folder):
  modules(folder, lambda m: m[:2])
  assert read_usage(folder, 'x', 512).pooling == 'cls'  # cosine does not see their length
  change(folder / 'config_sentence_transformers.json', similarity_fn_name='dot')
  with pytest.raises(UserError, match=r"has no Normalize and .* compares by 'dot'"):
    read_usage(folder, 'x', 512)
