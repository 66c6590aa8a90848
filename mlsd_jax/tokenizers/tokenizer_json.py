"""Byte-level BPE in the file format of Hugging Face's `tokenizers` (tokenizer.json), both ways."""

import pathlib
import re
from typing import Any

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base, exchange
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.patterns import Pattern

FILES = ('tokenizer.json', 'tokenizer_config.json')


def save(tokenizer: base.Tokenizer, folder: pathlib.Path, context_length: int | None = None) -> bool:
  """Writes the files that transformers.AutoTokenizer loads; False if the format cannot express the tokenizer.

  Bytes and byte-pair encodings can be, characters cannot.
  """
  bpe = exchange.as_bpe(tokenizer)
  if bpe is None:
    return False
  letters = byte_letters()
  spell = lambda token: ''.join(letters[byte] for byte in token)
  flags = dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)
  byte_level = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True}
  content = {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': [
      {'id': number, 'content': text, 'special': True, **flags}
      for text, number in sorted(bpe.special_tokens.items(), key=lambda item: item[1])
    ],
    'normalizer': None,
    'pre_tokenizer': _pre_tokenizer(bpe.pattern, byte_level),
    'post_processor': {**byte_level, 'trim_offsets': False, 'use_regex': True},
    'decoder': {**byte_level, 'use_regex': True},
    'model': {
      'type': 'BPE',
      'dropout': None,
      'unk_token': None,
      'continuing_subword_prefix': None,
      'end_of_word_suffix': None,
      'fuse_unk': False,
      'byte_fallback': False,
      'vocab': {spell(token): rank for token, rank in bpe.ranks.items()} | bpe.special_tokens,
      'merges': [[spell(bpe.tokens[left]), spell(bpe.tokens[right])] for left, right in bpe.merges],
    },
  }
  files.write_json(folder / FILES[0], content)
  settings: dict[str, Any] = {'tokenizer_class': 'GPT2Tokenizer', 'model_max_length': context_length or 10**30}
  if bpe.pattern.name != 'gpt2':
    settings['tokenizer_class'] = 'PreTrainedTokenizerFast'
  if bpe.end_of_text is not None:
    settings |= dict.fromkeys(('bos_token', 'eos_token', 'unk_token'), base.END_OF_TEXT)
  files.write_json(folder / FILES[1], settings)
  return True


def load(path: str | pathlib.Path) -> BPETokenizer:
  """The byte-level BPE that a tokenizer.json (or the folder that holds it) describes.

  Raises:
    UserError: no such file, or one with parts that a byte-level BPE does not have; they are named.
  """
  path = pathlib.Path(path)
  path = path / FILES[0] if path.is_dir() else path
  content = files.read_json(path)
  try:
    return _parsed(content, path)
  except UserError as error:
    raise error if str(path) in str(error) else UserError(f'{path}: {error}') from error
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise UserError(f'{path} is no whole tokenizer.json: {error!r}') from error


def _parsed(content: Any, path: pathlib.Path) -> BPETokenizer:
  model = content['model']
  if model.get('type') != 'BPE' or content.get('normalizer'):
    raise UserError(f'{path} is no byte-level BPE: model {model.get("type")}, normalizer {content.get("normalizer")}')
  vocab: dict[str, int] = model['vocab']
  special = {token['content']: token['id'] for token in content.get('added_tokens', [])}
  byte_of = {letter: byte for byte, letter in byte_letters().items()}
  letters = {number: token for token, number in vocab.items() if number < 256}
  if set(letters) != set(range(256)) or set(letters.values()) != set(byte_of):
    raise UserError(f'{path}: ids 0 to 255 are not the 256 bytes')
  pairs = [tuple(pair.split(' ')) if isinstance(pair, str) else tuple(pair) for pair in model['merges']]
  tokenizer = BPETokenizer(
    [(vocab[left], vocab[right]) for left, right in pairs],
    pattern=_pattern(content.get('pre_tokenizer'), path),
    special_tokens=special,
    byte_order=bytes(byte_of[letters[number]] for number in range(256)),
  )
  made = [vocab[left + right] for left, right in pairs]
  if made != tokenizer.merge_ids:
    raise UserError(f'{path}: the ids of merged tokens are not in the order of the merges')
  return tokenizer


def byte_letters() -> dict[int, str]:
  """GPT-2's spelling of bytes: printable ones stand for themselves, the others for letters from U+0100 on."""
  printable = {*range(ord('!'), ord('~') + 1), *range(ord('¡'), ord('¬') + 1), *range(ord('®'), ord('ÿ') + 1)}
  others = [byte for byte in range(256) if byte not in printable]
  return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _pre_tokenizer(pattern: Pattern, byte_level: dict[str, Any]) -> dict[str, Any]:
  if pattern.name == 'gpt2':
    return {**byte_level, 'use_regex': True}
  plain = {**byte_level, 'use_regex': False}
  if not pattern.plain:
    return plain
  split = {'type': 'Split', 'pattern': {'Regex': oniguruma(pattern)}, 'behavior': 'Isolated', 'invert': False}
  return {'type': 'Sequence', 'pretokenizers': [split, plain]}


def oniguruma(pattern: Pattern) -> str:
  """A published pattern for their engine, where '{1,3}+' repeats and '$' ends a line; a user's own as it is."""
  if pattern.name == 'own':
    return pattern.plain
  return re.sub(r'([+?*]|\{\d,\d\})\+', r'\1', pattern.plain.replace(r'\s++$', r'\s+\z'))


def _pattern(pre_tokenizer: Any, path: pathlib.Path) -> str:
  from mlsd_jax.tokenizers.patterns import PATTERNS

  parts = pre_tokenizer.get('pretokenizers', [pre_tokenizer]) if pre_tokenizer else []
  kinds = [part['type'] for part in parts]
  if kinds == ['ByteLevel'] and not parts[0].get('add_prefix_space'):
    return 'gpt2' if parts[0].get('use_regex', True) else 'none'
  if kinds == ['Split', 'ByteLevel'] and not parts[1].get('use_regex', True) and 'Regex' in parts[0]['pattern']:
    expression = parts[0]['pattern']['Regex']
    known = (name for name, pattern in PATTERNS.items() if expression in (pattern.plain, oniguruma(pattern)))
    return next(known, expression)
  raise UserError(f'{path}: cannot read pre-tokenizers {kinds}; a byte-level BPE has ByteLevel, or Split and ByteLevel')
