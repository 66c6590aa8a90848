"""Byte-level BPE tokenizers in the file format of Hugging Face's `tokenizers` (tokenizer.json)."""

import itertools
import pathlib
from typing import Any

from mlsd_jax import files, tokenizers
from mlsd_jax.tokenizers.base import END_OF_TEXT

FILES = ('tokenizer.json', 'tokenizer_config.json')


def save(tokenizer: tokenizers.Tokenizer, folder: pathlib.Path, context_length: int) -> bool:
  """Writes the files that transformers.AutoTokenizer loads; False if the format cannot express the tokenizer.

  Bytes, BPETokenizer and OpenAI's gpt2 can be: they cut text into GPT-2's pieces. Characters and OpenAI's later
  encodings cannot.
  """
  ranks = _ranks(tokenizer)
  if ranks is None:
    return False
  letters = byte_letters()
  spell = lambda token: ''.join(letters[byte] for byte in token)
  vocab = {spell(token): rank for token, rank in ranks.items()}
  byte_level = {'type': 'ByteLevel', 'add_prefix_space': False, 'trim_offsets': True, 'use_regex': True}
  special = {'id': tokenizer.end_of_text, 'content': END_OF_TEXT, 'special': True}
  content = {
    'version': '1.0',
    'truncation': None,
    'padding': None,
    'added_tokens': [{**special, **dict.fromkeys(('single_word', 'lstrip', 'rstrip', 'normalized'), False)}],
    'normalizer': None,
    'pre_tokenizer': byte_level,
    'post_processor': {**byte_level, 'trim_offsets': False},
    'decoder': byte_level,
    'model': {
      'type': 'BPE',
      'dropout': None,
      'unk_token': None,
      'continuing_subword_prefix': None,
      'end_of_word_suffix': None,
      'fuse_unk': False,
      'byte_fallback': False,
      'vocab': {**vocab, END_OF_TEXT: tokenizer.end_of_text},
      'merges': [[spell(left), spell(right)] for left, right in merges(ranks)],
    },
  }
  files.write_json(folder / FILES[0], content)
  settings: dict[str, Any] = {'tokenizer_class': 'GPT2Tokenizer', 'model_max_length': context_length}
  settings |= dict.fromkeys(('bos_token', 'eos_token', 'unk_token'), END_OF_TEXT)
  files.write_json(folder / FILES[1], settings)
  return True


def merges(ranks: dict[bytes, int]) -> list[tuple[bytes, bytes]]:
  """The pair that each longer token was merged from, in the order of rank.

  It is what is left of the token's bytes when pairs of a lower rank than its own are merged, the lowest first.
  """
  pairs = []
  for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
      found = [ranks.get(left + right, rank) for left, right in itertools.pairwise(parts)]
      first = found.index(min(found))
      assert found[first] < rank, f'{token!r} is no merge of two tokens of lower rank'
      parts[first : first + 2] = [parts[first] + parts[first + 1]]
    if len(parts) == 2:
      pairs.append((parts[0], parts[1]))
  return pairs


def byte_letters() -> dict[int, str]:
  """GPT-2's spelling of bytes: printable ones stand for themselves, the others for letters from U+0100 on."""
  printable = {*range(ord('!'), ord('~') + 1), *range(ord('¡'), ord('¬') + 1), *range(ord('®'), ord('ÿ') + 1)}
  others = [byte for byte in range(256) if byte not in printable]
  return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def _ranks(tokenizer: tokenizers.Tokenizer) -> dict[bytes, int] | None:
  known = (tokenizers.ByteTokenizer, tokenizers.BPETokenizer)
  if not isinstance(tokenizer, known) and not (
    isinstance(tokenizer, tokenizers.TiktokenTokenizer) and tokenizer.name == 'gpt2'
  ):
    return None
  return {tokenizer.decode_bytes([i]): i for i in range(tokenizer.vocab_size) if i != tokenizer.end_of_text}
