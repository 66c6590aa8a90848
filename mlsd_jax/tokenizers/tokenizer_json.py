"""Byte-level BPE in the files of Hugging Face: tokenizer.json, both ways; vocab.json and merges.txt, read."""

import collections
import itertools
import logging
import pathlib
import re
from typing import Any

from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base, exchange
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.patterns import Pattern
from mlsd_jax.tokenizers.special import EDGES, NORMALIZED

_logger = logging.getLogger(__name__)
FILES = ('tokenizer.json', 'tokenizer_config.json')
VOCAB, MERGES = 'vocab.json', 'merges.txt'
# What names special tokens beside them.
BESIDES = ('tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json')


def save(tokenizer: base.Tokenizer, folder: pathlib.Path, context_length: int | None = None) -> bool:
  """Writes the files that transformers.AutoTokenizer loads; False if the format cannot express the tokenizer.

  Bytes and byte-pair encodings can be, characters cannot.
  """
  bpe = exchange.as_bpe(tokenizer)
  if bpe is None:
    return False
  letters = byte_letters()
  spell = lambda token: ''.join(letters[byte] for byte in token)
  flags = lambda text: {name: name in bpe.edges.get(text, ()) for name in EDGES}
  byte_level = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True}
  content = {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': [
      {'id': number, 'content': text, 'special': text not in bpe.added, **flags(text)}
      for text, number in sorted(bpe.special_tokens.items(), key=lambda item: item[1])
    ],
    'normalizer': {'type': bpe.normalizer} if bpe.normalizer else None,
    'pre_tokenizer': _pre_tokenizer(bpe.pattern, byte_level),
    'post_processor': _post_processor(bpe, {**byte_level, 'trim_offsets': False, 'use_regex': True}),
    'decoder': {**byte_level, 'use_regex': True},
    'model': {
      'type': 'BPE',
      'dropout': None,
      'unk_token': None,
      'continuing_subword_prefix': None,
      'end_of_word_suffix': None,
      'fuse_unk': False,
      'byte_fallback': False,
      'ignore_merges': bool(bpe.whole),
      'vocab': {spell(token): rank for token, rank in bpe.ranks.items()}
      | {spell(token): number for number, token in bpe.whole.items()}
      | bpe.special_tokens,
      'merges': [[spell(bpe.tokens[left]), spell(bpe.tokens[right])] for left, right in bpe.merges],
    },
  }
  files.write_json(folder / FILES[0], content)
  settings: dict[str, Any] = {'tokenizer_class': 'GPT2Tokenizer', 'model_max_length': context_length or 10**30}
  if bpe.pattern.name != 'gpt2':
    settings['tokenizer_class'] = 'PreTrainedTokenizerFast'
  ending = next((text for text, number in bpe.special_tokens.items() if number == bpe.end_of_text), None)
  if ending is not None:
    settings |= dict.fromkeys(('bos_token', 'eos_token', 'unk_token'), ending)
  files.write_json(folder / FILES[1], settings)
  return True


def load(path: str | pathlib.Path, *, framed: bool = False) -> BPETokenizer:
  """The byte-level BPE that a tokenizer.json describes, or a folder with one, or with a vocab.json and merges.txt.

  Its `end_of_text` is the token that the files beside it call eos_token, else '<|endoftext|>', else none.

  Args:
    framed: the caller puts around a text what belongs there and cuts it: what the file says of that is passed over.

  Raises:
    UserError: no such file, or one with parts that a byte-level BPE does not have; they are named.
  """
  path = pathlib.Path(path)
  folder = path if path.is_dir() else path.parent
  if path.is_dir() and not (path / FILES[0]).exists() and (path / VOCAB).exists():
    path, parse = path / VOCAB, _parsed_vocabulary
  else:
    path, parse = path / FILES[0] if path.is_dir() else path, _parsed
  content, named = files.read_json(path), _named(folder)
  if framed and isinstance(content, dict):
    content = content | dict.fromkeys(('post_processor', 'truncation', 'padding'))
  try:
    tokenizer = parse(content, path, named)
  except UserError as error:
    raise error if str(path) in str(error) else UserError(f'{path}: {error}') from error
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise UserError(f'{path} is no whole {path.name}: {error!r}') from error
  ending = named.get('eos_token')
  return tokenizer if ending not in tokenizer.special_tokens else tokenizer.ended_by(tokenizer.special_tokens[ending])


def _named(folder: pathlib.Path) -> dict[str, Any]:
  """What the files beside a vocabulary say: 'eos_token' and the like -> its text, 'added' -> ids by text, 'edges'.

  Raises:
    UserError: a file is no JSON object, or asks for a space before each text.
  """
  found: dict[str, Any] = {'added': {}, 'edges': {}}
  for name in BESIDES:
    content = files.read_json(folder / name) if (folder / name).exists() else {}
    if not isinstance(content, dict):
      raise UserError(f'{folder / name} holds no JSON object')
    if content.get('add_prefix_space'):
      raise UserError(f'{folder / name} says add_prefix_space=True; only texts as they are can be encoded')
    if name == 'added_tokens.json':
      found['added'] |= content
    decoder = content.get('added_tokens_decoder')
    if isinstance(decoder, dict):
      found['added'] |= {token['content']: int(number) for number, token in decoder.items()}
      found['edges'] |= {token['content']: _edges(token) for token in decoder.values()}
    for key, value in content.items():
      text = value.get('content') if isinstance(value, dict) else value
      if key.endswith('_token') and isinstance(text, str):
        found.setdefault(key, text)
        if isinstance(value, dict):
          found['edges'].setdefault(text, _edges(value))
  return found


def _parsed(content: Any, path: pathlib.Path, named: dict[str, Any]) -> BPETokenizer:
  model, normalizer = content['model'], (content.get('normalizer') or {}).get('type', '')
  if model.get('type') != 'BPE' or normalizer not in ('', 'NFC'):
    raise UserError(f'{path} is no byte-level BPE: model {model.get("type")}, normalizer {content.get("normalizer")}')
  for option in ('dropout', 'continuing_subword_prefix', 'end_of_word_suffix'):
    if model.get(option):
      raise UserError(f'{path} says {option}={model[option]!r}, which a byte-level BPE as GPT-2 has it does not know')
  special, added, edges = {}, [], {}
  for token in content.get('added_tokens', []):
    text = token['content']
    special[text] = token['id']
    edges[text] = _edges(token)
    if not token.get('special', True) and text not in named.values():
      added.append(text)
  if not normalizer and all(NORMALIZED in asks for asks in edges.values()):
    edges = {text: [name for name in asks if name != NORMALIZED] for text, asks in edges.items()}  # all at once
  for option in ('truncation', 'padding'):
    if content.get(option):
      _logger.warning(
        '%s says %s=%s: left out here, every text is encoded whole', path, option, files.to_json(content[option], path)
      )
  pairs = [tuple(pair.split(' ')) if isinstance(pair, str) else tuple(pair) for pair in model['merges']]
  pattern = _pattern(content.get('pre_tokenizer'), path)
  more = {'added': added, 'edges': edges, 'normalizer': normalizer}
  more['begin_of_text'] = _begin(content.get('post_processor'), special, path)
  return _made(model['vocab'], pairs, special, pattern, path, ignore_merges=bool(model.get('ignore_merges')), **more)


def _edges(token: dict[str, Any]) -> list[str]:
  return [name for name in EDGES if token.get(name)]


def _begin(post_processor: Any, special: dict[str, int], path: pathlib.Path) -> int | None:
  """What is put before a text: of a template, or of the last of several processors that has one.

  What is put behind one is told and left out: a model would read that the text has ended.
  """
  parts = (post_processor or {}).get('processors', [post_processor or {}])
  framed = [part['type'] for part in parts if part.get('type') in ('BertProcessing', 'RobertaProcessing')]
  framed += [part['type'] for part in parts if 'SpecialToken' in (part.get('single') or [{}])[-1]]
  if framed:
    _logger.warning('%s says that a token is put behind every text (%s): left out here', path, framed[0])
  for part in reversed(parts):
    first = (part.get('single') or [{}])[0]
    if part.get('type') == 'TemplateProcessing' and 'SpecialToken' in first:
      return special.get(first['SpecialToken']['id'])
  return None


def _parsed_vocabulary(content: Any, path: pathlib.Path, named: dict[str, Any]) -> BPETokenizer:
  """GPT-2's own files: vocab.json, ids by token, and beside it merges.txt, a pair a line."""
  merges = path.parent / MERGES
  if not merges.exists():
    raise UserError(f'{path} is half of a tokenizer: {MERGES} is not beside it')
  try:
    lines = merges.read_text(encoding='utf-8').split('\n')
  except UnicodeDecodeError as error:
    raise UserError(f'{merges} is not UTF-8: {error}') from error
  lines = lines[1:] if lines[0].startswith('#version') else lines
  pairs = [tuple(line.split(' ')) for line in (line.rstrip('\r') for line in lines) if line.strip()]
  texts = {text for key, text in named.items() if key.endswith('_token')} | {base.END_OF_TEXT}
  special = {text: content[text] for text in texts if text in content} | named['added']
  edges = {
    text: [name for name in asks if name != NORMALIZED] for text, asks in named['edges'].items() if text in special
  }
  return _made(content, pairs, special, 'gpt2', path, edges=edges)


def _made(
  vocab: dict[str, int],
  pairs: list[tuple[str, ...]],
  special: dict[str, int],
  pattern: str,
  path: pathlib.Path,
  *,
  ignore_merges: bool = False,
  **more: Any,
) -> BPETokenizer:
  """The tokenizer of tokens spelled by `byte_letters`. What no merge makes is no part of any text: special, too.

  Args:
    ignore_merges: a piece that is a token is that token, whether or not merges make it.
  """
  byte_of = {letter: byte for byte, letter in byte_letters().items()}
  missing = [letter for letter in byte_of if letter not in vocab]
  if missing:
    raise UserError(f'{path}: {len(missing)} of the 256 bytes have no id (such as {missing[0]!r}): no byte-level BPE')
  wrong = next((pair for pair in pairs if len(pair) != 2), None)
  if wrong is not None:
    raise UserError(f'{path}: the merge {" ".join(wrong)!r} is not of two tokens')
  pairs = _reachable(pairs)
  ids = sorted(vocab[letter] for letter in byte_of)
  letter_of = {vocab[letter]: letter for letter in byte_of}
  if len(letter_of) != 256 or any(type(number) is not int or number < 0 for number in vocab.values()):
    raise UserError(f'{path}: ids are not whole numbers from 0 on, one each')
  token_of: dict[int, str] = {}
  for token, number in vocab.items():
    if token_of.setdefault(number, token) != token:
      raise UserError(f'{path}: {token_of[number]!r} and {token!r} both have the id {number}')
  for pair in pairs:
    unknown = next((token for token in (*pair, ''.join(pair)) if token not in vocab), None)
    if unknown is not None:
      raise UserError(f'{path}: the merge {" ".join(pair)!r} has {unknown!r}, which has no id')
  made = [vocab[left + right] for left, right in pairs]
  within = {*ids, *made}
  if max(within) >= len({*vocab.values(), *special.values()}):
    raise UserError(f'{path}: the ids of the 256 bytes and the merged tokens leave out numbers')
  shared = next((text for text, number in special.items() if number in within), None)
  if shared is not None:
    raise UserError(f'{path}: the special token {shared!r} is a token of texts, too')
  others = {token: number for token, number in vocab.items() if number not in within and token not in special}
  spelled = {token: bytes(byte_of[letter] for letter in token) for token in others if set(token) <= byte_of.keys()}
  whole = {others[token]: data for token, data in spelled.items()} if ignore_merges else {}
  special |= {
    spelled.get(token, token.encode()).decode('utf-8', 'replace'): number
    for token, number in others.items()
    if number not in whole
  }
  return BPETokenizer(
    [(vocab[left], vocab[right]) for left, right in pairs],
    pattern=pattern,
    special_tokens=special,
    byte_order=bytes(byte_of[letter_of[number]] for number in ids),
    ids=[*ids, *made],
    whole=whole,
    **more,
  )


def _reachable(pairs: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
  """The merges without those that never happen, where several make the same token.

  What becomes of a token's letters before they are one does not depend on what stands beside them: it is what merging
  makes of the letters alone, and of the pairs that make the token only the last one there is ever met.
  """
  made = collections.Counter(map(''.join, pairs))
  if not pairs or max(made.values()) == 1:
    return pairs
  rank = {pair: place for place, pair in enumerate(pairs)}
  kept = {}
  for token, number in made.items():
    parts = list(token)
    while number > 1 and len(parts) > 2:
      at = [rank.get(pair, len(pairs)) for pair in itertools.pairwise(parts)]
      lowest = min(at)
      if lowest == len(pairs):
        break  # no merging makes it
      place = at.index(lowest)
      parts[place : place + 2] = [parts[place] + parts[place + 1]]
    kept[token] = tuple(parts) if number > 1 else None
  return [pair for pair in pairs if kept[''.join(pair)] in (None, pair)]


def byte_letters() -> dict[int, str]:
  """GPT-2's spelling of bytes: printable ones stand for themselves, the others for letters from U+0100 on."""
  printable = {*range(ord('!'), ord('~') + 1), *range(ord('¡'), ord('¬') + 1), *range(ord('®'), ord('ÿ') + 1)}
  others = [byte for byte in range(256) if byte not in printable]
  return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _post_processor(bpe: BPETokenizer, byte_level: dict[str, Any]) -> dict[str, Any]:
  begin = next((text for text, number in bpe.special_tokens.items() if number == bpe.begin_of_text), None)
  if begin is None:
    return byte_level
  first = {'SpecialToken': {'id': begin, 'type_id': 0}}
  text = lambda letter, number: {'Sequence': {'id': letter, 'type_id': number}}
  template = {
    'type': 'TemplateProcessing',
    'single': [first, text('A', 0)],
    'pair': [first, text('A', 0), text('B', 1)],
    'special_tokens': {begin: {'id': begin, 'ids': [bpe.begin_of_text], 'tokens': [begin]}},
  }
  return {'type': 'Sequence', 'processors': [byte_level, template]}


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


# GPT-2's, once every digit has been cut out: none of its pieces then reaches over one.
_DIGITS = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++|\p{N}| ?[^\s\p{L}\p{N}]++|\s+(?=\p{N})|\s+(?!\S)|\s+"""


def _pattern(pre_tokenizer: Any, path: pathlib.Path) -> str:
  from mlsd_jax.tokenizers.patterns import PATTERNS

  parts = pre_tokenizer.get('pretokenizers', [pre_tokenizer]) if pre_tokenizer else []
  kinds = [part['type'] for part in parts]
  if any(part.get('add_prefix_space') for part in parts):
    raise UserError(f'{path} says add_prefix_space=True; only texts as they are can be encoded')
  if kinds == ['Digits', 'ByteLevel'] and parts[0].get('individual_digits') and parts[1].get('use_regex', True):
    return _DIGITS
  if kinds == ['ByteLevel']:
    return 'gpt2' if parts[0].get('use_regex', True) else 'none'
  if kinds == ['Split', 'ByteLevel'] and not parts[1].get('use_regex', True) and 'Regex' in parts[0]['pattern']:
    how, inverted = parts[0].get('behavior', 'Isolated'), bool(parts[0].get('invert'))
    if how != 'Isolated' and (how, inverted) != (
      'Removed',
      True,
    ):  # what no match covers goes: published ones cover all
      raise UserError(
        f'{path} says behavior={how}, invert={inverted} of its Split; a byte-level BPE keeps all, Isolated'
      )
    expression = parts[0]['pattern']['Regex']
    known = (name for name, pattern in PATTERNS.items() if expression in (pattern.plain, oniguruma(pattern)))
    return next(known, expression)
  raise UserError(f'{path}: cannot read pre-tokenizers {kinds}; a byte-level BPE has ByteLevel, or Split and ByteLevel')
