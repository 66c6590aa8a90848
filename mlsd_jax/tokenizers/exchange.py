"""Byte-pair encodings in other people's forms: OpenAI's ranks, minbpe's .model.

Hugging Face's files are in tokenizer_json.py.
"""

import base64
import pathlib
from collections.abc import Mapping

from mlsd_jax import files, reading
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.byte_level import ByteTokenizer
from mlsd_jax.tokenizers.merges import recover_merges
from mlsd_jax.tokenizers.openai import TiktokenTokenizer

MINBPE = 'minbpe v1'


def from_ranks(
  ranks: Mapping[bytes, int], *, pattern: str, special_tokens: Mapping[str, int], name: str = ''
) -> BPETokenizer:
  """The tokenizer whose tokens have these ranks (as tiktoken keeps them); the merges are recovered from them.

  Raises:
    UserError: ranks that no merging makes, or that leave out a byte.
  """
  by_rank = sorted(ranks.items(), key=lambda item: item[1])
  byte_order = bytes(token[0] for token, rank in by_rank[:256] if len(token) == 1)
  if len(byte_order) != 256 or [rank for _, rank in by_rank[:256]] != list(range(256)):
    raise UserError('the first 256 ranks are not those of the 256 bytes')
  tokenizer = BPETokenizer(
    recover_merges(ranks), pattern=pattern, special_tokens=special_tokens, byte_order=byte_order, name=name
  )
  if tokenizer.ranks != dict(ranks):
    raise UserError('the ranks leave out numbers that no special token has')
  return tokenizer


def from_tiktoken(name: str) -> BPETokenizer:
  """One of tiktoken's encodings as a BPETokenizer, with its merges and its order of bytes."""
  encoding = TiktokenTokenizer(name).encoding
  return from_ranks(
    encoding._mergeable_ranks, pattern=encoding._pat_str, special_tokens=encoding._special_tokens, name=name
  )


def as_bpe(tokenizer: base.Tokenizer) -> BPETokenizer | None:
  """`tokenizer` as a BPETokenizer with the same ids; None if it is none of bytes and byte-pair encodings."""
  if isinstance(tokenizer, ByteTokenizer):
    return BPETokenizer([])
  if isinstance(tokenizer, TiktokenTokenizer):
    return from_tiktoken(tokenizer.name)
  return tokenizer if isinstance(tokenizer, BPETokenizer) else None


def save_minbpe(tokenizer: BPETokenizer, prefix: str | pathlib.Path) -> pathlib.Path:
  """Writes PREFIX.model, which minbpe's load() reads, and PREFIX.vocab for people; returns the former.

  Raises:
    UserError: minbpe's format cannot hold the tokenizer: bytes in another order, ids between the merges, a line break
      in the pattern, or white space in a special token.
  """
  plain = [bytes([byte]) for byte in range(256)]
  if tokenizer.merge_ids != list(range(256, 256 + len(tokenizer.merges))) or tokenizer.tokens[:256] != plain:
    raise UserError(f'{tokenizer.name} has bytes or special tokens where minbpe cannot have them')
  if tokenizer.normalizer or tokenizer.whole:
    raise UserError(f'{tokenizer.name} normalises texts or has tokens that no merge makes; minbpe cannot have them')
  if '\n' in tokenizer.pattern.plain or any(token.split() != [token] for token in tokenizer.special_tokens):
    raise UserError(f'{tokenizer.name} has a pattern or special tokens that minbpe cannot have on one line')
  special = [f'{token} {number}' for token, number in tokenizer.special_tokens.items()]
  merges = [f'{left} {right}' for left, right in tokenizer.merges]
  lines = [MINBPE, tokenizer.pattern.plain, str(len(special)), *special, *merges]
  model = pathlib.Path(f'{prefix}.model')
  files.write_text(model, '\n'.join(lines) + '\n')
  files.write_text(pathlib.Path(f'{prefix}.vocab'), readable_vocabulary(tokenizer))
  return model


def load_minbpe(path: str | pathlib.Path) -> BPETokenizer:
  """The tokenizer of a .model file that minbpe (or save_minbpe) wrote.

  Raises:
    UserError: the file is missing or not such a file.
  """
  path = pathlib.Path(path)
  try:
    version, pattern, count, *rest = reading.read_text(path).split('\n')
    if version != MINBPE:
      raise UserError(f'{path} is no minbpe model: it does not begin with {MINBPE!r}')
    special = {}
    for line in rest[: int(count)]:
      token, number = line.strip().rsplit(' ', 1)
      special[token] = int(number)
    merges = [(int(left), int(right)) for left, right in (line.split() for line in rest[int(count) :] if line.strip())]
  except (OSError, ValueError) as error:
    raise UserError(f'{path} is no whole minbpe model: {error}') from error
  return BPETokenizer(merges, pattern=pattern or 'none', special_tokens=special)


def readable_vocabulary(tokenizer: BPETokenizer) -> str:
  """A line for each token: its text, its id, and the two it was merged from."""
  made_from = dict(zip(tokenizer.merge_ids, tokenizer.merges, strict=True))
  lines = []
  for number, token in enumerate(tokenizer.tokens):
    if number in made_from:
      left, right = (show(tokenizer.tokens[part]) for part in made_from[number])
      lines.append(f'[{left}][{right}] -> [{show(token)}] {number}')
    else:
      lines.append(f'[{show(token)}] {number}')
  return '\n'.join(lines) + '\n'


def show(token: bytes | None) -> str:
  """A token's bytes as text on one line: control characters and bytes that are no character are escaped."""
  text = (token or b'').decode('utf-8', errors='backslashreplace')
  return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def save_ranks(tokenizer: BPETokenizer, path: str | pathlib.Path) -> None:
  """Writes a .tiktoken file, a line of base64 token and rank each, as tiktoken.load.load_tiktoken_bpe reads it."""
  lines = [f'{base64.b64encode(token).decode()} {rank}' for token, rank in tokenizer.ranks.items()]
  files.write_text(path, '\n'.join(lines) + '\n')


def load_ranks(path: str | pathlib.Path) -> dict[bytes, int]:
  """The ranks of a .tiktoken file.

  Raises:
    UserError: the file is missing or not such a file.
  """
  try:
    rows = [line.split() for line in reading.read_bytes(path).splitlines() if line]
    return {base64.b64decode(token, validate=True): int(rank) for token, rank in rows}
  except (OSError, ValueError) as error:
    raise UserError(f'{path} is no whole .tiktoken file: {error}') from error
