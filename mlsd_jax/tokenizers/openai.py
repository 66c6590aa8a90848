"""OpenAI's published byte-pair encodings, through the tiktoken package."""

import functools
import hashlib
import os
import pathlib
import threading
from typing import Any, Self

import numpy as np

from mlsd_jax import folders, sealed
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base, fast
from mlsd_jax.tokenizers.patterns import Pattern, pattern_for

_HOME = 'https://openaipublic.blob.core.windows.net'
_GPT2 = f'{_HOME}/gpt-2/encodings/main'

# The files each encoding is read from, by URL, with their SHA-256. tiktoken keeps a file under the SHA-1 of its URL.
ENCODINGS = {
  'gpt2': {
    f'{_GPT2}/vocab.bpe': '1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5',
    f'{_GPT2}/encoder.json': '196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783',
  },
  'r50k_base': {
    f'{_HOME}/encodings/r50k_base.tiktoken': '306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930'
  },
  'p50k_base': {
    f'{_HOME}/encodings/p50k_base.tiktoken': '94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069'
  },
  'cl100k_base': {
    f'{_HOME}/encodings/cl100k_base.tiktoken': '223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7'
  },
  'o200k_base': {
    f'{_HOME}/encodings/o200k_base.tiktoken': '446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d'
  },
}

_environment = threading.Lock()


class NotHereError(UserError):
  """The files of an encoding are not on this machine and cannot be downloaded; the message says where they go."""


class TiktokenTokenizer(base.Tokenizer):
  """One of `ENCODINGS`. Text that spells a special token is encoded as the text it is.

  The files are looked for in $TIKTOKEN_CACHE_DIR if that is set, else in $MLSD_DATA_DIR/tiktoken, else in the user
  cache, where they are downloaded to.
  """

  kind = 'tiktoken'

  def __init__(self, name: str):
    """Raises: UserError: no such encoding; its files are absent and cannot be downloaded, or damaged."""
    if name not in ENCODINGS:
      raise UserError(f'no tiktoken encoding {name!r}; there are {", ".join(ENCODINGS)}')
    self.name = name
    self.encoding = _load(name)
    self.vocab_size = self.encoding.n_vocab
    self.end_of_text = self.encoding.eot_token

  @functools.cached_property
  def fingerprint(self) -> str:  # type: ignore[override]
    encoding = self.encoding
    digest = hashlib.sha256(repr(['tiktoken', encoding._pat_str, sorted(encoding._special_tokens.items())]).encode())
    for token, rank in sorted(encoding._mergeable_ranks.items(), key=lambda item: item[1]):
      digest.update(b'%d %d ' % (rank, len(token)) + token)
    return digest.hexdigest()

  def encode(self, text: str) -> np.ndarray:
    return fast.encode(self.encoding, self._pattern, text)

  def _encode_broken(self, data: bytes, valid: int) -> np.ndarray:
    return fast.encode_broken(self.encoding, self._pattern, data, valid)

  def decode_bytes(self, ids: base.Ids) -> bytes:
    array = self._checked(ids).tolist()
    try:
      return self.encoding.decode_bytes(array)
    except KeyError:  # some ids below vocab_size stand for nothing (100256 of cl100k_base); a model may sample them
      return b''.join(self.encoding.decode_bytes([i]) for i in array if i in self._known)

  @functools.cached_property
  def _known(self) -> set[int]:
    return {*self.encoding._mergeable_ranks.values(), *self.encoding._special_tokens.values()}

  @functools.cached_property
  def _pattern(self) -> Pattern:
    return pattern_for(self.encoding._pat_str)

  def state(self) -> dict[str, Any]:
    return {'name': self.name}

  @classmethod
  def from_state(cls, state: dict[str, Any]) -> Self:
    return cls(state['name'])


def _load(name: str) -> Any:
  import tiktoken

  sums = ENCODINGS[name]
  kept_as = {url: hashlib.sha1(url.encode()).hexdigest() for url in sums}
  folder = _folder(list(kept_as.values()))
  for url, sha256 in sums.items():  # before tiktoken sees it: tiktoken deletes a file that is not what it expects
    file = folder / kept_as[url]
    if file.exists() and sealed.damage(folder, {file.name: sha256}):
      raise UserError(f'{file} is damaged (SHA-256 is not {sha256}): delete it, or replace it by {url}')
  with _environment:  # tiktoken takes the folder from the environment only
    before = os.environ.get('TIKTOKEN_CACHE_DIR')
    os.environ['TIKTOKEN_CACHE_DIR'] = str(folder)
    try:
      return tiktoken.get_encoding(name)
    except Exception as error:
      missing = {url: kept for url, kept in kept_as.items() if not (folder / kept).exists()}
      if not missing:
        raise
      todo = ', '.join(f'{url} into {folder} as {kept}' for url, kept in missing.items())
      raise NotHereError(
        f'tokenizer {name} is not on this machine and its download failed ({type(error).__name__}): put {todo}'
      ) from error
    finally:
      if before is None:
        del os.environ['TIKTOKEN_CACHE_DIR']
      else:
        os.environ['TIKTOKEN_CACHE_DIR'] = before


def _folder(names: list[str]) -> pathlib.Path:
  chosen = os.environ.get('TIKTOKEN_CACHE_DIR')
  if chosen:
    return pathlib.Path(chosen)
  laid_down = folders.data_folder()
  if laid_down is not None and all((laid_down / 'tiktoken' / name).exists() for name in names):
    return laid_down / 'tiktoken'
  return folders.cache_folder() / 'tiktoken'
