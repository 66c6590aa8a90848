"""A user's mistake deep in a library call comes out as its own line: not wrapped, and with the file named once."""

import dataclasses
import json

import pytest

from mlsd_jax import files, tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import text_scores
from mlsd_jax.schema import from_mapping
from mlsd_jax.tokenizers import ByteTokenizer, exchange, tokenizer_json
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.training.config import TrainConfig


def saved(folder, change):
  path = folder / 'tokenizer.json'
  BPETokenizer([(104, 101)], pattern='gpt2').save(path)
  content = json.loads(path.read_text())
  content.pop('sha256', None)
  change(content)
  path.write_text(json.dumps(content))
  return path


def bad_pattern(folder):
  path = saved(folder, lambda content: content.update(pattern='('))
  tokenizers.load(path)


def another_model(folder):
  (folder / 'h.json').write_text(json.dumps({'model': {'type': 'Unigram'}}))
  tokenizer_json.load(folder / 'h.json')


def no_minbpe(folder):
  (folder / 'm.model').write_text('something else\n\n0\n')
  exchange.load_minbpe(folder / 'm.model')


def row_without_text(folder):
  (folder / 'rows.jsonl').write_text('{"words": 1}\n')
  text_scores.lambada(None, None, ByteTokenizer(), folder / 'rows.jsonl')


def folder_that_is_a_file(folder):
  (folder / 'there').write_text('')
  files.write_text(folder / 'there' / 'name', 'x')


def name_too_long(folder):
  files.write_text(folder / ('n' * 300), 'x')


@pytest.mark.parametrize(
  'make', [bad_pattern, another_model, no_minbpe, row_without_text, folder_that_is_a_file, name_too_long]
)
def test_a_mistake_is_one_line_that_names_its_file_once(make, tmp_path):
  with pytest.raises(UserError) as raised:
    make(tmp_path)
  message = str(raised.value)
  assert 'Error' not in message
  assert '\n' not in message
  assert message.count(str(tmp_path)) == 1


def test_a_mistake_is_no_value_error():
  with pytest.raises(UserError) as raised:
    from_mapping(TrainConfig, {'steps': 0, 'batch_size': 1}, 'train')
  assert not isinstance(raised.value, ValueError)
  assert str(raised.value) == 'config.train.steps must be at least 1, got 0'


@dataclasses.dataclass(frozen=True)
class _Knows:
  """Settings whose own error says where they stand, as some of the library's do."""

  said: str

  def __post_init__(self):
    raise UserError(self.said)


@pytest.mark.parametrize('section', ['moons', 'data.moons'])
@pytest.mark.parametrize('said', ['said must be short', '{}.said must be short', 'moons.said must be short'])
def test_a_section_is_named_once_whoever_names_it(section, said):
  with pytest.raises(UserError) as raised:
    from_mapping(_Knows, {'said': said.format(section)}, section)
  assert str(raised.value) == f'config.{section}.said must be short'
