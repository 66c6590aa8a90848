"""A tokenizer by its name, or as it was saved."""

import pathlib

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.base import Tokenizer, read_saved
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.byte_level import ByteTokenizer
from mlsd_jax.tokenizers.character import CharacterTokenizer
from mlsd_jax.tokenizers.openai import ENCODINGS, TiktokenTokenizer
from mlsd_jax.tokenizers.sentencepiece import SentencePieceTokenizer
from mlsd_jax.tokenizers.unigram import UnigramTokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

KINDS: dict[str, type[Tokenizer]] = {
  tokenizer.kind: tokenizer
  for tokenizer in (
    *(ByteTokenizer, CharacterTokenizer, BPETokenizer, UnigramTokenizer, WordPieceTokenizer),
    *(SentencePieceTokenizer, TiktokenTokenizer),
  )
}


def load(name_or_path: str | pathlib.Path) -> Tokenizer:
  """A tokenizer by name ('bytes', 'gpt2', 'cl100k_base', ...), or one that was saved to a file or folder.

  Raises:
    UserError: no such name or file, a file that was damaged, or an encoding that cannot be had offline.
  """
  if str(name_or_path) == ByteTokenizer.name:
    return ByteTokenizer()
  if str(name_or_path) in ENCODINGS:
    return TiktokenTokenizer(str(name_or_path))
  if not pathlib.Path(name_or_path).exists():
    names = ', '.join([ByteTokenizer.name, *ENCODINGS])
    raise UserError(f'no tokenizer {str(name_or_path)!r}: neither one of {names} nor a saved tokenizer')
  file, content = read_saved(name_or_path)
  if content['kind'] not in KINDS:
    raise UserError(f'{file} holds a tokenizer of unknown kind {content["kind"]!r}; known are {", ".join(KINDS)}')
  try:
    tokenizer = KINDS[content['kind']].from_state(content)
  except UserError as error:
    raise UserError(f'{file}: {error}') from error
  except (KeyError, TypeError, ValueError) as error:
    raise UserError(f'{file} is not a whole tokenizer: {error!r}') from error
  if tokenizer.fingerprint != content.get('fingerprint'):
    raise UserError(f'{file} is damaged: its content does not have the fingerprint written in it')
  return tokenizer
