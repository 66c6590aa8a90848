"""Byte-pair encoding compiled by Numba: the published patterns by hand, the vocabulary as one hash table.

What a regular expression engine does for any pattern, a scanner does for four of them with one look at each character,
and most pieces are one token, which is one look into the table. A piece that is not is merged as tiktoken does it, the
lowest rank first, and what came out is found again by where the same piece stood before. The ids are tiktoken's.

Compiling takes seconds once; the machine code is kept in the cache folder, if that can be written. So short texts are
not worth it: fast.py decides.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from mlsd_jax.tokenizers import fast, machine_code

KINDS = {name: number for number, name in enumerate(fast.COMPILED)}
_GPT2, _CL100K, _GPT4, _O200K = KINDS.values()

# Bits of a character's class. Which characters have one is asked of tiktoken's own engine, so that both know the same
# version of Unicode.
_LETTER, _NUMBER, _SPACE, _UPPER, _LOWER, _BREAK = 1, 2, 4, 8, 16, 32
_CLASSES = {
  _LETTER: r'\p{L}',
  _NUMBER: r'\p{N}',
  _SPACE: r'\s',
  _UPPER: r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]',
  _LOWER: r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]',
  _BREAK: r'[\r\n]',
}
_LONGEST = 256  # bytes of a piece that is merged here; the work grows with their square, so longer ones go to tiktoken
_LONG_S = 0x17F  # the one letter that is an s where case does not count

_OFFSET, _PRIME, _SHIFT = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3), np.uint64(32)  # FNV-1a, 64 bits
_REMEMBERED = 1 << 16  # places for pieces that are several tokens, of a long text


_compiled = machine_code.jit()


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Tokens by their bytes, for the compiled loop.

  Attributes:
    table: int32, a power of two of places: 1 + the token's number, or 0; the hash says where to begin to look.
    tags: uint32, the upper half of the hash of the token at that place.
    blob: uint8, all tokens' bytes behind each other.
    starts: int64, where each begins in `blob`, and the end.
    ranks: int32, each token's id.
  """

  table: np.ndarray
  tags: np.ndarray
  blob: np.ndarray
  starts: np.ndarray
  ranks: np.ndarray


@functools.cache
def character_classes() -> np.ndarray:
  """uint8 [0x110000], the class of each code point."""
  import tiktoken

  # Without surrogates, and without planes in which there is nothing, or nothing but characters of private use.
  points = np.concatenate([np.arange(0xD800), np.arange(0xE000, 0x40000), np.arange(0xE0000, 0xE1000)])
  text = points.astype('<u4').tobytes().decode('utf-32-le')
  classes = np.zeros(0x110000, np.uint8)
  single = {bytes([byte]): byte for byte in range(256)}
  for bit, pattern in _CLASSES.items():
    # tiktoken passes over what the pattern does not match, so what it encodes are the characters of the class.
    engine = tiktoken.Encoding('classes', pat_str=pattern, mergeable_ranks=single, special_tokens={})
    found = engine.encode_to_numpy(text, disallowed_special=()).astype(np.uint8).tobytes().decode()
    classes[np.frombuffer(found.encode('utf-32-le'), '<u4')] |= bit
  return classes


def make_vocabulary(ranks: dict[bytes, int]) -> Vocabulary:
  """The hash table of `ranks`, which has an id for every byte."""
  tokens = list(ranks)
  size = 1 << (4 * len(tokens) - 1).bit_length()
  lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
  starts = np.concatenate([[0], np.cumsum(lengths)])
  blob = np.frombuffer(b''.join(tokens), np.uint8)
  table, tags = np.zeros(size, np.int32), np.zeros(size, np.uint32)
  _fill(table, tags, blob, starts)
  return Vocabulary(table, tags, blob, starts, np.fromiter(ranks.values(), np.int32, len(tokens)))


class CompiledEncoder:
  """Encodes as a tiktoken.Encoding does whose pattern is one of KINDS."""

  def __init__(self, encoding: Any, pattern: str):
    self._encoding = encoding
    self._kind = KINDS[pattern]
    self._vocabulary = make_vocabulary(encoding._mergeable_ranks)

  def encode(self, text: str) -> np.ndarray:
    """The int32 ids of `text`; special tokens are text.

    Raises:
      UnicodeEncodeError: it holds a lone surrogate.
    """
    data = np.frombuffer(text.encode(), np.uint8)
    ids = np.empty(len(data), np.int32)
    vocabulary = self._vocabulary
    long = np.empty((len(data) // _LONGEST + 1, 3), np.int64)
    count, num_long = _encode(
      data,
      self._kind,
      character_classes(),
      vocabulary.table,
      vocabulary.tags,
      vocabulary.blob,
      vocabulary.starts,
      vocabulary.ranks,
      ids,
      long,
    )
    if not num_long:
      return ids[:count].copy()
    parts, before = [], 0
    for place, start, end in long[:num_long].tolist():
      merged = self._encoding._encode_single_piece(data[start:end].tobytes())
      parts += [ids[before:place], np.array(merged, np.int32)]
      before = place
    return np.concatenate([*parts, ids[before:count]])


@_compiled
def _hash(data, start, end):
  found = _OFFSET
  for place in range(start, end):
    found = (found ^ np.uint64(data[place])) * _PRIME
  return found ^ (found >> _SHIFT)


@_compiled
def _fill(table, tags, blob, starts):
  mask = np.uint64(len(table) - 1)
  for token in range(len(starts) - 1):
    found = _hash(blob, starts[token], starts[token + 1])
    place = found & mask
    while table[place]:
      place = (place + np.uint64(1)) & mask
    table[place] = token + 1
    tags[place] = np.uint32(found >> _SHIFT)


@_compiled
def _same(left, left_start, right, right_start, length):
  place = 0
  while place < length and left[left_start + place] == right[right_start + place]:
    place += 1
  return place == length


@_compiled
def _look_up(data, start, end, found, table, tags, blob, starts):
  """The number of the token data[start:end], whose hash is `found`; -1 if it is none."""
  mask = np.uint64(len(table) - 1)
  place = found & mask
  tag = np.uint32(found >> _SHIFT)
  while table[place]:
    if tags[place] == tag:
      token = table[place] - 1
      length = end - start
      if starts[token + 1] - starts[token] == length and _same(blob, starts[token], data, start, length):
        return token
    place = (place + np.uint64(1)) & mask
  return -1


@_compiled
def _merge(data, start, end, table, tags, blob, starts, ranks, ids, count, begins, worth):
  """Writes the ids of data[start:end] behind ids[:count]; returns the new count.

  `begins` and `worth` are room for the bounds of the parts and for the rank of each part joined with the next.
  """
  none = np.int32(2**31 - 1)
  parts = end - start
  for place in range(parts + 1):
    begins[place] = start + place
  for place in range(parts - 1):
    first, last = start + place, start + place + 2
    token = _look_up(data, first, last, _hash(data, first, last), table, tags, blob, starts)
    worth[place] = ranks[token] if token >= 0 else none
  while parts > 1:
    lowest, at = none, -1
    for place in range(parts - 1):
      if worth[place] < lowest:
        lowest, at = worth[place], place
    if at < 0:
      break
    for place in range(at + 1, parts):
      begins[place] = begins[place + 1]
    for place in range(at, parts - 2):
      worth[place] = worth[place + 1]
    parts -= 1
    for place in range(max(at - 1, 0), min(at + 1, parts - 1)):
      first, last = begins[place], begins[place + 2]
      token = _look_up(data, first, last, _hash(data, first, last), table, tags, blob, starts)
      worth[place] = ranks[token] if token >= 0 else none
  for place in range(parts):
    first, last = begins[place], begins[place + 1]
    ids[count] = ranks[_look_up(data, first, last, _hash(data, first, last), table, tags, blob, starts)]
    count += 1
  return count


@_compiled
def _character(data, place):
  """The code point at `place` of well-formed UTF-8, and how many bytes it has."""
  first = np.int32(data[place])
  if first < 0x80:
    return first, 1
  if first < 0xE0:
    return (first & 0x1F) << 6 | (data[place + 1] & 0x3F), 2
  if first < 0xF0:
    return (first & 0x0F) << 12 | (data[place + 1] & 0x3F) << 6 | (data[place + 2] & 0x3F), 3
  upper = (first & 0x07) << 18 | (data[place + 1] & 0x3F) << 12
  return upper | (data[place + 2] & 0x3F) << 6 | (data[place + 3] & 0x3F), 4


@_compiled
def _run(data, place, bits, classes):
  """Where the run of characters with one of `bits` ends that begins at `place`."""
  while place < len(data):
    point, length = _character(data, place)
    if not classes[point] & bits:
      break
    place += length
  return place


@_compiled
def _contraction(data, place, any_case):
  """Where 's, 't, 're, 've, 'm, 'll or 'd ends, if one begins at `place`; else `place`."""
  if place + 1 >= len(data) or data[place] != 39:
    return place
  first, length = _character(data, place + 1)
  fold = 0x20 if any_case else 0
  if first < 0x80:
    letter = first | fold if 65 <= first <= 90 else first
    if letter == 115 or letter == 100 or letter == 109 or letter == 116:
      return place + 2
    if place + 2 < len(data):
      second = np.int32(data[place + 2])
      second = second | fold if 65 <= second <= 90 else second
      if (letter == 108 and second == 108) or ((letter == 118 or letter == 114) and second == 101):
        return place + 3
  elif any_case and first == _LONG_S:
    return place + 1 + length
  return place


@_compiled
def _cased_word(data, place, classes):
  """Where upper case and then at least one of lower case ends, of o200k's letters and marks; `place` if there is none.

  Most scripts' letters count as both, so the run of upper case may take the last one of lower case and give it back.
  """
  ahead, last_lower = place, place
  while ahead < len(data):
    point, length = _character(data, ahead)
    kind_of = classes[point]
    if not kind_of & _UPPER:
      break
    ahead += length
    if kind_of & _LOWER:
      last_lower = ahead
  end = _run(data, ahead, _LOWER, classes)
  return end if end > ahead else last_lower


@_compiled
def _space(data, place, kind, classes):
  """Where the piece of white space at `place` ends."""
  end, previous, last_break = place, place, place
  while end < len(data):
    point, length = _character(data, end)
    if not classes[point] & _SPACE:
      break
    previous = end
    end += length
    if classes[point] & _BREAK:
      last_break = end
  if end == len(data) and kind in (_GPT2, _CL100K):
    return end
  if kind != _GPT2 and last_break > place:
    return last_break
  # The last one is left to the word behind it, unless it is alone or the text ends.
  return end if end == len(data) or previous == place else previous


@_compiled
def _gpt2_piece(data, place, classes):
  """Where the piece at `place` ends."""
  end = _contraction(data, place, False)
  if end > place:
    return end
  point, length = _character(data, place)
  after = place
  if point == 32 and place + 1 < len(data):
    after = place + 1
    point, length = _character(data, after)
  kind_of = classes[point]
  if kind_of & _LETTER:
    return _run(data, after + length, _LETTER, classes)
  if kind_of & _NUMBER:
    return _run(data, after + length, _NUMBER, classes)
  if not kind_of & _SPACE:
    return _others(data, after + length, classes)
  return _space(data, place, _GPT2, classes)


@_compiled
def _others(data, place, classes):
  """Where a run of what is no letter, number or space ends."""
  while place < len(data):
    point, length = _character(data, place)
    if classes[point] & (_LETTER | _NUMBER | _SPACE):
      break
    place += length
  return place


@_compiled
def _modern_piece(data, place, kind, classes):
  """Where the piece of cl100k, gpt4 or o200k at `place` ends."""
  point, length = _character(data, place)
  kind_of = classes[point]
  if kind != _O200K:
    end = _contraction(data, place, True)
    if end > place:
      return end
    if kind_of & _LETTER:
      return _run(data, place + length, _LETTER, classes)
    if not kind_of & (_NUMBER | _BREAK) and place + length < len(data):
      end = _run(data, place + length, _LETTER, classes)
      if end > place + length:
        return end
  else:
    after = place + length
    prefixed = not kind_of & (_LETTER | _NUMBER | _BREAK)
    end = _cased_word(data, after, classes) if prefixed else after
    if end == after:  # no prefix, or no word with one
      end = _cased_word(data, place, classes)
      if end == place and prefixed:
        end = _run(data, after, _UPPER, classes)
        end = place if end == after else end
      if end == place:
        end = _run(data, place, _UPPER, classes)
    if end > place:
      return _contraction(data, end, True)
  if kind_of & _NUMBER:
    end, digits = place + length, 1
    while end < len(data) and digits < 3:
      point, length = _character(data, end)
      if not classes[point] & _NUMBER:
        break
      end += length
      digits += 1
    return end
  start = place + 1 if point == 32 else place
  end = _others(data, start, classes)
  if end > start:
    while end < len(data) and (data[end] == 10 or data[end] == 13 or (kind == _O200K and data[end] == 47)):
      end += 1
    return end
  return _space(data, place, kind, classes)


@_compiled(nogil=True)
def _encode(data, kind, classes, table, tags, blob, starts, ranks, ids, long):
  """Writes ids; returns how many, and how many pieces are too long, of which `long` says where ids are missing."""
  remembered = 16
  while remembered < _REMEMBERED and 32 * remembered < len(data):
    remembered *= 2
  seen = np.full((remembered, 4), -1, np.int64)  # of a piece of several tokens: start, end, its ids' start and end
  begins, worth = np.empty(_LONGEST + 2, np.int64), np.empty(_LONGEST + 2, np.int32)
  place, count, num_long = 0, 0, 0
  while place < len(data):
    if kind == _GPT2:
      end = _gpt2_piece(data, place, classes)
    else:
      end = _modern_piece(data, place, kind, classes)
    found = _hash(data, place, end)
    token = _look_up(data, place, end, found, table, tags, blob, starts)
    if token >= 0:
      ids[count] = ranks[token]
      count += 1
    elif end - place > _LONGEST:
      long[num_long, 0], long[num_long, 1], long[num_long, 2] = count, place, end
      num_long += 1
    else:
      slot = found & np.uint64(remembered - 1)
      start = seen[slot, 0]
      if start >= 0 and seen[slot, 1] - start == end - place and _same(data, start, data, place, end - place):
        for earlier in range(seen[slot, 2], seen[slot, 3]):
          ids[count] = ids[earlier]
          count += 1
      else:
        before = count
        count = _merge(data, place, end, table, tags, blob, starts, ranks, ids, count, begins, worth)
        seen[slot, 0], seen[slot, 1], seen[slot, 2], seen[slot, 3] = place, end, before, count
    place = end
  return count, num_long
