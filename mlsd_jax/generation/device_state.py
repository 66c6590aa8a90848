"""What an engine keeps on the device, and its programs as the host calls them: numpy in, numpy out."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.generation import decoders, programs
from mlsd_jax.generation.decoders import Decoder
from mlsd_jax.generation.requests import MAX_LOGPROBS, Request
from mlsd_jax.generation.row import Row
from mlsd_jax.generation.row_padding import place_kernels
from mlsd_jax.generation.sampling import GREEDY, Choice, Marks, Settings

DRAWN = 64  # random numbers of a row are drawn for so many tokens at a time


class DeviceState:
  """Parameters, the cache and the marks of all rows. The latter two are made when they are first needed.

  Attributes:
    params: as they lie on the device, kernels turned where that is faster (row_padding.py).
    num_programs: how many programs were compiled so far, by all engines of the process.
  """

  def __init__(self, decoder: Decoder, params: Any, rows: int, cache_slots: int, steps: int):
    self._decoder, self._params = decoder, place_kernels(jax.tree.map(jnp.asarray, params))
    self._num_rows, self._cache_slots, self._steps = rows, cache_slots, steps
    self._cache: Any = None
    self._marks: Any = None

  @property
  def num_programs(self) -> int:
    return sum(programs.compiled.values())

  @property
  def params(self) -> Any:
    return self._params

  def warm_up(self, part: int) -> None:
    """Runs every program in each of its shapes; what the rows hold is lost."""
    request = Request([0])
    for _ in range(2):  # what a program gives back may be placed otherwise than what it was given first
      self.draw(request, 0)
      width = min(16, part)
      while width <= part:
        hidden_1T, last_14 = self.read([np.zeros(width, np.int32)], [0], [0])
        self.score(hidden_1T, np.zeros(width, np.int32))
        self.begin(last_14, [0], [request], [np.zeros(2, np.float32)])
        width *= 2
      self.paste(self.cut(0, 0, part), 0, 0)
      self.mark(0, Marks.of_row(request.sampling, self._decoder.vocab_size, []))
      rows: list[Row | None] = [Row(0, request, np.zeros(1, np.int32), sampled=[0]), *[None] * (self._num_rows - 1)]
      self.decode(rows, {0: 1}, None)

  def draw(self, request: Request, start: int) -> np.ndarray:
    """Random numbers [DRAWN, 2] of a request's tokens from number `start` on."""
    words = np.array([(request.seed >> 32) & 0xFFFFFFFF, request.seed & 0xFFFFFFFF], np.uint32)
    return np.asarray(programs.draw(words, *map(np.uint32, request.stream), np.int32(start), DRAWN))

  def mark(self, slot: int, marks: Marks) -> None:
    self._make()
    self._marks = programs.mark(self._marks, np.int32(slot), marks)

  def cut(self, slot: int, start: int, size: int) -> Any:
    return programs.cut(self._decoder, size, self._cache, np.int32(slot), np.int32(start))

  def paste(self, block: Any, slot: int, start: int) -> None:
    self._make()
    self._cache = programs.paste(self._decoder, self._cache, block, np.int32(slot), np.int32(start))

  def read(
    self, parts: Sequence[np.ndarray], slots: Sequence[int], starts: Sequence[int]
  ) -> tuple[jax.Array, jax.Array]:
    """Hidden states of a part of a prompt in each of some slots, padded to a bucket, and those that end with its last
    token."""
    self._make()
    tokens_RT = np.zeros((len(parts), decoders.bucket(max(map(len, parts)))), np.int32)
    for tokens_T, part in zip(tokens_RT, parts, strict=True):
      tokens_T[: len(part)] = part
    where = (np.array(each, np.int32) for each in (starts, slots, [len(part) - 1 for part in parts]))
    hidden_RT, last_R4, self._cache = programs.read(self._decoder, self._params, tokens_RT, self._cache, *where)
    return hidden_RT, last_R4

  def begin(
    self, last_R4: jax.Array, slots: Sequence[int], requests: Sequence[Request], uniforms: Sequence[np.ndarray]
  ) -> Choice:
    """The token behind the last part of each prompt; arrays [R] and [R, K]."""
    choice, self._marks = programs.begin(
      self._decoder,
      MAX_LOGPROBS,
      self._params,
      last_R4,
      self._marks,
      np.array(slots, np.int32),
      np.stack(uniforms),
      Settings.stack([request.sampling for request in requests]),
      np.array([request.logprobs is not None for request in requests]),
    )
    return Choice(*map(np.asarray, choice))

  def score(self, hidden_1T: jax.Array, targets: np.ndarray) -> Choice:
    """The tokens that follow each position of a part, as a Choice of arrays [T] and [T, K], padded to the part."""
    target_T = np.zeros(hidden_1T.shape[1], np.int32)
    target_T[: len(targets)] = targets
    told = programs.score(self._decoder, MAX_LOGPROBS, self._params, hidden_1T, target_T)
    return Choice(target_T, *map(np.asarray, told))

  def decode(self, rows: Sequence[Row | None], left: dict[int, int], end_of_text: int | None) -> tuple[int, Choice]:
    """Up to left[slot] steps of each row that it names: how many there were, and arrays [steps, B, ...]."""
    decoding = {slot: row for slot, row in enumerate(rows) if row is not None and slot in left}
    requests = [decoding[slot].request if slot in left else _NOTHING for slot in range(len(rows))]
    ends = [-1 if end_of_text is None or not request.ends else end_of_text for request in requests]
    state = programs.Rows(
      token=np.array([decoding[slot].sampled[-1] if slot in left else 0 for slot in range(len(rows))], np.int32),
      # A row that is not being continued writes as well, where its next part or token will be written anyway.
      index=np.array([0 if row is None else row.read for row in rows], np.int32),
      left=np.array([left.get(slot, 0) for slot in range(len(rows))], np.int32),
      end=np.array(ends, np.int32),
      asks=np.array([request.logprobs is not None for request in requests]),
      settings=Settings.stack([request.sampling for request in requests]),
    )
    uniform_NB2 = np.zeros((self._steps, len(rows), 2), np.float32)
    for slot, row in decoding.items():
      uniform_NB2[: left[slot], slot] = row.uniforms(self.draw, left[slot])
    taken, choices, self._cache, self._marks = programs.decode(
      self._decoder, self._steps, MAX_LOGPROBS, self._params, self._cache, self._marks, state, uniform_NB2
    )
    taken = int(taken)
    return taken, Choice(*(np.asarray(each)[:taken] for each in choices))

  def _make(self) -> None:
    if self._marks is None:
      shape = (self._num_rows, self._decoder.vocab_size)
      self._cache = self._decoder.init_cache(self._params, self._num_rows, self._cache_slots)
      self._marks = Marks(jnp.zeros(shape), jnp.zeros(shape, bool), jnp.zeros(shape, jnp.int32))


_NOTHING = Request([0], GREEDY)  # of rows that are not continued: the least work
