"""The tokenizer that a configuration names, learned from the source where it has to be."""

import hashlib
import json
import re
from collections.abc import Iterator

from mlsd_jax import folders, sealed, tokenizers
from mlsd_jax.data.sources import Source
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import BPETokenizer, CharacterTokenizer, Tokenizer, UnigramTokenizer

_LEARNED: dict[str, type[BPETokenizer] | type[UnigramTokenizer]] = {'bpe': BPETokenizer, 'unigram': UnigramTokenizer}
_CHARACTERS = 2**24  # vocabularies of some thousands hardly change with more text


def tokenizer_for(spec: str, source: Source) -> Tokenizer:
  """The tokenizer named by `spec`; one that is learned is kept in the user cache.

  Args:
    spec: 'char', the characters of `source`; 'bpe:SIZE' or 'unigram:SIZE', a vocabulary of SIZE tokens learned from the
      first 16 million characters of `source`; else a name or path that `tokenizers.load` knows.
    source: what to learn from.

  Raises:
    UserError: a bad spec, the source cannot be read, or it is too short for a vocabulary of SIZE.
  """
  kind, _, size = spec.partition(':')
  if kind not in ('char', *_LEARNED) or (kind == 'char' and size):
    return tokenizers.load(spec)
  if kind in _LEARNED and not size.isdecimal():
    raise UserError(f"tokenizer {spec!r} must name a vocabulary size, as in 'bpe:2048'")
  key = hashlib.sha256(json.dumps([spec, source.fingerprint()]).encode()).hexdigest()[:12]
  name = re.sub(r'[^\w.-]+', '_', f'{source.name}-{spec}')
  file = folders.cache_folder() / 'tokenizers' / f'{name}-{key}.json'
  tokenizer = tokenizers.load(sealed.cached_file(file, lambda target: _learned(kind, size, source).save(target)))
  if kind in _LEARNED:
    require_size(tokenizer, int(size), source)
  return tokenizer


def require_size(tokenizer: Tokenizer, vocab_size: int, source: Source) -> None:
  """Raises UserError if a vocabulary came out smaller than was asked for: a name with a size in it would be untrue."""
  if tokenizer.vocab_size < vocab_size:
    raise UserError(
      f'{source.name} holds no pair that occurs twice behind {tokenizer.vocab_size:,} tokens, so that none of '
      f'{vocab_size:,} can be learned; ask for {tokenizer.vocab_size} at most, or give more text'
    )


def _learned(kind: str, size: str, source: Source) -> Tokenizer:
  if kind == 'char':
    return CharacterTokenizer.train(document.text for document in source.documents())
  return _LEARNED[kind].train(_first(source, _CHARACTERS), int(size))


def _first(source: Source, characters: int) -> Iterator[str]:
  for document in source.documents():
    yield document.text[:characters]
    characters -= len(document.text)
    if characters <= 0:
      return
