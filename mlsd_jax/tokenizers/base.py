"""What every tokenizer is: text to token ids and back, saved and loaded with a fingerprint."""

import abc
import codecs
import concurrent.futures
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from mlsd_jax import sealed
from mlsd_jax.errors import UserError

type Ids = Iterable[int] | np.ndarray

END_OF_TEXT = '<|endoftext|>'
_FORMAT = 1


class Tokenizer(abc.ABC):
  """Text to token ids and back. Immutable; pickled by its state, so that it can be sent to worker processes.

  Attributes:
    kind: what `load` knows the class by.
    name: what a user calls it, for example 'gpt2' or 'bpe-2048'.
    vocab_size: ids are 0 to vocab_size - 1.
    fingerprint: SHA-256, in hexadecimal, of all that determines the ids of a text.
    end_of_text: the id that separates documents, or None. No text encodes to it.
    begin_of_text: the id that a model was trained to see before a text, or None.
  """

  kind: ClassVar[str]
  name: str
  vocab_size: int
  fingerprint: str
  end_of_text: int | None
  begin_of_text: int | None = None

  @abc.abstractmethod
  def encode(self, text: str) -> np.ndarray:
    """The int32 ids of `text`. A lone surrogate, which no UTF-8 text holds, counts as U+FFFD.

    Raises:
      UserError: the tokenizer cannot represent `text`.
    """

  @abc.abstractmethod
  def decode_bytes(self, ids: Ids) -> bytes:
    """The UTF-8 bytes that `ids` stand for; `end_of_text` stands for '<|endoftext|>'.

    Raises:
      UserError: an id is outside 0 to vocab_size - 1.
    """

  @abc.abstractmethod
  def state(self) -> dict[str, Any]:
    """JSON-able state from which `from_state` makes an equal tokenizer."""

  @classmethod
  @abc.abstractmethod
  def from_state(cls, state: dict[str, Any]) -> Self:
    """The tokenizer whose `state()` this is."""

  def encode_bytes(self, data: bytes) -> np.ndarray:
    """The int32 ids of any bytes, which `decode_bytes` gives back; of UTF-8 those that `encode` gives.

    Raises:
      UserError: `data` is not UTF-8 and the tokenizer knows only characters.
    """
    try:
      return self.encode(data.decode())
    except UnicodeDecodeError as error:
      return self._encode_broken(data, error.start)

  def _encode_broken(self, data: bytes, valid: int) -> np.ndarray:
    """The ids of bytes of which only the first `valid` are UTF-8."""
    raise UserError(f'{self.name} encodes characters; byte {valid} of the data begins none of UTF-8')

  def encode_batch(self, texts: Sequence[str], threads: int = 1) -> list[np.ndarray]:
    """[encode(text) for text in texts], over `threads` threads."""
    if threads == 1:
      return [self.encode(text) for text in texts]
    with concurrent.futures.ThreadPoolExecutor(threads) as executor:
      return list(executor.map(self.encode, texts))

  def decode(self, ids: Ids, errors: str = 'replace') -> str:
    """The text that `ids` stand for.

    Args:
      errors: what becomes of bytes that are not UTF-8, as in bytes.decode: 'replace' (U+FFFD), 'ignore', 'strict', ...

    Raises:
      UserError: an id is outside 0 to vocab_size - 1, or errors='strict' and the bytes are not UTF-8.
    """
    try:
      return self.decode_bytes(ids).decode('utf-8', errors=errors)
    except UnicodeDecodeError as error:
      raise UserError(f'the ids stand for bytes that are not UTF-8: {error}') from error

  def offsets(self, ids: Ids) -> np.ndarray:
    """[len(ids), 2] int64: the characters of `decode(ids)` that each token has a part in, as start and end.

    A token that holds only some bytes of a character spans that character; one that stands for nothing is empty. What
    decoding puts before a token (WordPiece's spaces) is the token's.
    """
    numbers = self._checked(ids)
    # What a token adds is worked out once for each that occurs; then it is arithmetic over arrays.
    occurs = np.zeros(self.vocab_size, bool)
    occurs[numbers[1:]] = True
    added = {number: self._added_bytes(number, is_first=False) for number in np.flatnonzero(occurs).tolist()}
    parts = [self._added_bytes(number, is_first=True) for number in numbers[:1].tolist()]
    parts += map(added.__getitem__, numbers[1:].tolist())
    data = b''.join(parts)
    try:
      data.decode()
    except UnicodeDecodeError:
      return _spans_of_broken(parts)
    ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
    starts = np.concatenate([[0], ends])[: len(parts)]
    begins = np.frombuffer(data + b' ', np.uint8) & 0xC0 != 0x80  # [bytes + 1]: a character, or the end
    begun = np.concatenate([[0], np.cumsum(begins[:-1])])
    complete = begun - ~begins  # inside of a character, it is not
    return np.stack([complete[starts], np.where(ends > starts, begun[ends], complete[starts])], axis=1)

  def _added_bytes(self, number: int, *, is_first: bool) -> bytes:
    """What a token adds to the bytes of the tokens before it, if there are any."""
    return self.decode_bytes([number])

  def save(self, path: str | pathlib.Path) -> pathlib.Path:
    """Writes the tokenizer to `path`, a .json file or else a folder that gets a tokenizer.json; returns the file."""
    file = _file(path)
    sealed.write_json(file, {'format': _FORMAT, 'kind': self.kind, 'fingerprint': self.fingerprint, **self.state()})
    return file

  def __reduce__(self) -> tuple[Any, ...]:
    return type(self).from_state, (self.state(),)

  def __repr__(self) -> str:
    return f'{type(self).__name__}({self.name!r}, vocab_size={self.vocab_size})'

  def _checked(self, ids: Ids) -> np.ndarray:
    array = np.atleast_1d(np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64))
    bad = array[(array < 0) | (array >= self.vocab_size)]
    if bad.size:
      raise UserError(f'token id {bad[0]} is out of range: tokenizer {self.name} has ids 0 to {self.vocab_size - 1}')
    return array


def _spans_of_broken(parts: Sequence[bytes]) -> np.ndarray:
  """Tokenizer.offsets of tokens with these bytes, which are not UTF-8 together."""
  utf8 = codecs.getincrementaldecoder('utf-8')('replace')
  spans, complete = [], 0
  for token in parts:
    start = complete  # a character that an earlier token began is the next to be complete
    complete += len(utf8.decode(token))
    begun = bool(utf8.getstate()[0])
    spans.append((start, complete + begun if token else start))
  return np.array(spans, np.int64).reshape(-1, 2)


class StreamDecoder:
  """Decodes token by token without ever emitting half a character.

  The emitted pieces join to `tokenizer.decode(ids)`.
  """

  def __init__(self, tokenizer: Tokenizer):
    self._tokenizer = tokenizer
    self._utf8 = codecs.getincrementaldecoder('utf-8')('replace')
    self._is_first = True

  def push(self, token: int) -> str:
    """The characters that `token` completes; '' while one is still open."""
    added = self._tokenizer._added_bytes(token, is_first=self._is_first)
    self._is_first = False
    return self._utf8.decode(added)

  def flush(self) -> str:
    """What is left at the end: U+FFFD for a character that was never completed, else ''."""
    return self._utf8.decode(b'', final=True)


def well_formed(text: str) -> str:
  """`text` with surrogate pairs joined and lone surrogates replaced by U+FFFD; what is well formed stays as it is."""
  try:
    text.encode()
    return text
  except UnicodeEncodeError:
    return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')


def read_saved(path: str | pathlib.Path) -> tuple[pathlib.Path, dict[str, Any]]:
  """The file and content that `Tokenizer.save` wrote.

  Raises:
    UserError: the file is missing or not a saved tokenizer.
  """
  file = _file(path)
  content = sealed.read_json(file)
  if content.get('format') != _FORMAT or 'kind' not in content:
    raise UserError(f'{file} is not a tokenizer saved by this version (a JSON object with "format": {_FORMAT})')
  return file, content


def _file(path: str | pathlib.Path) -> pathlib.Path:
  path = pathlib.Path(path)
  return path if path.suffix == '.json' and not path.is_dir() else path / 'tokenizer.json'
