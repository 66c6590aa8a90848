"""Decoding with a KV cache: rows of unequal length, compiled once a bucket, several tokens a dispatch.

A `Session` holds one batch of rows. Prompts stand flush right behind left padding, so that every row writes the same
cache slot at a step. Shapes come from `bucket`: prompts and caches are rounded up to powers of two as long as they are
small and to multiples of 64 after that, so that a new length rarely compiles anything.

A row that has filled all positions of the model goes on in a sliding window: the last half of the context is read
anew (as the row's only past) and decoding continues behind it. When that happens depends on the row's own length
alone. Rows share the cache index, so a batch whose cache is full is read anew as a whole, the other rows with all
their tokens.

Names: B rows, P prompt slots, S cache slots, N tokens of one dispatch, V vocabulary.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.generation.sampling import PLAIN, SamplingConfig, sample, uniforms

_COARSE = 64


class Decoder(Protocol):
  """A language model as decoding sees it. Hashable: it is a static argument of what is compiled."""

  @property
  def vocab_size(self) -> int:
    """Width of the logits: only ids below it are ever sampled."""

  @property
  def context_length(self) -> int:
    """The most tokens of a row that the model can see at once."""

  def init_cache(self, params: Any, pad_B: jax.Array, slots: int) -> Any:
    """An empty cache of `slots` tokens a row, the first pad_B of which are padding."""

  def apply(self, params: Any, tokens_BT: jax.Array, cache: Any, *, first: bool) -> tuple[jax.Array, Any]:
    """Logits [B, vocab_size] behind the last of `tokens_BT`, and the cache that now holds them too."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """What one step hands to the next."""

  cache: Any
  token_B: jax.Array  # int32: sampled last, not yet in the cache
  done_B: jax.Array  # bool
  seen_BV: jax.Array | None  # bool: tokens a row holds; kept for the repetition penalty only


def bucket(length: int, smallest: int = 16) -> int:
  """The next power of two up to 64, the next multiple of 64 above; at least `smallest`."""
  if length > _COARSE:
    return -(-length // _COARSE) * _COARSE
  return max(smallest, 1 << max(length - 1, 0).bit_length())


def row_keys(seed: int, prompts: Sequence[int], samples: Sequence[int]) -> jax.Array:
  """One key a row from (seed, number of its prompt, number of its sample), so that no row depends on its batch."""
  fold = lambda prompt, sample: jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), prompt), sample)
  return jax.vmap(fold)(jnp.asarray(prompts, jnp.uint32), jnp.asarray(samples, jnp.uint32))


class Session:
  """One batch of rows being decoded.

      session = Session(decoder, params, prompts, row_keys(0, [0, 1], [0, 0]), end_of_text=0)
      while not session.done.all():
        for row, tokens in enumerate(session.advance()):
          ...

  Attributes:
    tokens: a row's tokens, prompt first, as a list of ints; it grows.
    done: bool [B]: rows that met end_of_text, reached max_new_tokens, or were stopped by `finish`.
  """

  def __init__(
    self,
    decoder: Decoder,
    params: Any,
    prompts: Sequence[np.ndarray],
    keys_B: jax.Array,
    *,
    sampling: SamplingConfig = PLAIN,
    max_new_tokens: int = 128,
    end_of_text: int | None = None,
    steps_per_dispatch: int = 16,
    min_rows: int | None = None,
  ):
    """Checks the prompts; reads nothing yet.

    Args:
      prompts: int arrays [P_i], each of 1 to context_length tokens.
      end_of_text: a row that samples it is done; None for never.
      steps_per_dispatch: the most tokens a row that one `advance` yields. One is compiled for each value.
      min_rows: the batch is padded to at least so many rows, and always to a power of two. By default 1, but 4 for
        bfloat16 on a CPU, where XLA multiplies fewer rows in a scalar loop and takes ten times as long.

    Raises:
      UserError: a prompt is empty, longer than the context, or holds an id outside the vocabulary.
    """
    for number, prompt in enumerate(prompts):
      check_prompt(prompt, decoder, f'prompt {number}')
    if min_rows is None:
      min_rows = 4 if jax.default_backend() == 'cpu' and _is_bfloat16(params) else 1
    rows = 1 << (max(len(prompts), min_rows) - 1).bit_length()
    self.tokens: list[list[int]] = [np.asarray(prompt).tolist() for prompt in prompts]
    self.done = np.zeros(len(prompts), bool)
    self._idle = rows - len(prompts)
    self._decoder, self._params, self._sampling = decoder, params, sampling
    self._keys_B = jnp.concatenate([keys_B, jnp.repeat(keys_B[:1], self._idle, axis=0)])
    self._end = -1 if end_of_text is None else end_of_text
    self._max_new, self._new = max_new_tokens, 0
    self._steps = steps_per_dispatch
    self._start = [0] * len(prompts)  # where a row's window begins
    self._state: State | None = None
    self._used = self._slots = 0
    self._pad_B = np.zeros(rows, np.int32)

  def advance(self, steps: int | None = None) -> list[list[int]]:
    """Decodes up to `steps` (default steps_per_dispatch) tokens a row; returns each row's new tokens.

    A row that is done gets none; one that meets end_of_text gets it as its last.
    """
    if self.done.all() or self._new >= self._max_new:
      self.done[:] = True
      return [[] for _ in self.tokens]
    done_B = np.pad(self.done, (0, self._idle), constant_values=True)
    if self._state is None or self._room() == 0:
      self._state, tokens_BN = self._prefill(done_B)
    else:
      limit = min(steps or self._steps, self._steps, self._room(), self._max_new - self._new)
      state = dataclasses.replace(self._state, done_B=jnp.array(done_B))
      tokens_BN, taken, self._state = _decode(
        self._decoder, self._sampling, self._steps, self._params, state, self._uniforms(self._steps), limit, self._end
      )
      taken = int(taken)
      tokens_BN = np.asarray(tokens_BN)[:, :taken]
      self._used += taken
    self._new += tokens_BN.shape[1]
    return [self._take(row, tokens_BN[row]) for row in range(len(self.tokens))]

  def finish(self, row: int) -> None:
    """Stops a row."""
    self.done[row] = True

  def _take(self, row: int, tokens_N: np.ndarray) -> list[int]:
    if self.done[row]:
      return []
    new = tokens_N.tolist()
    if self._end in new:
      new = new[: new.index(self._end) + 1]
      self.done[row] = True
    self.tokens[row] += new
    self.done[row] |= self._new >= self._max_new
    return new

  def _room(self) -> int:
    """Steps until the cache is full or a row that is not done has filled the positions of the model."""
    longest = self._used - int(self._pad_B[: len(self.done)][~self.done].min())
    return min(self._slots - self._used, self._decoder.context_length - longest)

  def _prefill(self, done_B: np.ndarray) -> tuple[State, np.ndarray]:
    context = self._decoder.context_length
    for row, tokens in enumerate(self.tokens):
      if len(tokens) - self._start[row] > context:
        self._start[row] = len(tokens) - max(context // 2, 1)
    # Rows that are done are read as one token, lest they make the others' padding longer.
    windows = [
      [0] if done else tokens[start:] for tokens, start, done in zip(self.tokens, self._start, self.done, strict=True)
    ]
    longest = max(map(len, windows))
    width = bucket(longest)
    self._slots = bucket(width + min(self._max_new - self._new, context - longest), smallest=32)
    self._used = width
    self._pad_B = np.full(len(done_B), width - 1, np.int32)
    self._pad_B[: len(windows)] = [width - len(tokens) for tokens in windows]
    tokens_BP = np.zeros((len(done_B), width), np.int32)
    for row, tokens in enumerate(windows):
      tokens_BP[row, self._pad_B[row] :] = tokens
    state = _prefill(
      self._decoder,
      self._sampling,
      self._slots,
      self._params,
      tokens_BP,
      self._pad_B,
      self._uniforms(1)[0],
      done_B,
      self._seen(len(done_B)),
      self._end,
    )
    return state, np.asarray(state.token_B)[:, None]

  def _uniforms(self, number: int) -> jax.Array:
    """The random numbers of the next tokens; drawn apart, as their generator takes as long to compile as a layer."""
    if self._sampling.temperature == 0.0:
      return jnp.zeros((number, len(self._keys_B), 2))
    return _uniforms(self._keys_B, self._new, number)

  def _seen(self, rows: int) -> np.ndarray | None:
    if self._sampling.repetition_penalty == 1.0:
      return None
    seen_BV = np.zeros((rows, self._decoder.vocab_size), bool)
    for row, tokens in enumerate(self.tokens):
      seen_BV[row, [token for token in tokens if token < self._decoder.vocab_size]] = True
    return seen_BV


def check_prompt(prompt: np.ndarray, decoder: Decoder, what: str) -> None:
  """Raises UserError, naming `what`, unless 1 to context_length ids of the vocabulary are given."""
  prompt = np.asarray(prompt)
  if prompt.size == 0:
    raise UserError(f'{what} is empty; give at least one token')
  if prompt.size > decoder.context_length:
    raise UserError(f'{what} has {prompt.size} tokens, more than the {decoder.context_length} positions of the model')
  bad = prompt[(prompt < 0) | (prompt >= decoder.vocab_size)]
  if bad.size:
    raise UserError(f'{what} holds token id {bad[0]}, outside 0 to {decoder.vocab_size - 1} of the model')


def _is_bfloat16(params: Any) -> bool:
  return any(getattr(leaf, 'dtype', None) == jnp.bfloat16 for leaf in jax.tree.leaves(params))


_uniforms = jax.jit(uniforms, static_argnums=2)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _prefill(decoder, sampling, slots, params, tokens_BP, pad_B, uniform_B2, done_B, seen_BV, end) -> State:
  cache = decoder.init_cache(params, pad_B, slots)
  logits_BV, cache = decoder.apply(params, tokens_BP, cache, first=True)
  return _choose(logits_BV, cache, done_B, seen_BV, uniform_B2, end, sampling)


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=4)
def _decode(decoder, sampling, capacity, params, state: State, uniform_NB2, limit, end):
  """Up to `limit` steps: tokens [B, capacity] of which the first `taken` count, `taken`, and the state behind them."""

  def more(carry):
    taken, _, state = carry
    return (taken < limit) & ~state.done_B.all()

  def step(carry):
    taken, tokens_NB, state = carry
    logits_BV, cache = decoder.apply(params, state.token_B[:, None], state.cache, first=False)
    state = _choose(logits_BV, cache, state.done_B, state.seen_BV, uniform_NB2[taken], end, sampling)
    return taken + 1, tokens_NB.at[taken].set(state.token_B), state

  tokens_NB = jnp.zeros((capacity, state.token_B.shape[0]), jnp.int32)
  taken, tokens_NB, state = jax.lax.while_loop(more, step, (jnp.zeros((), jnp.int32), tokens_NB, state))
  return tokens_NB.T, taken, state


def _choose(logits_BV, cache, done_B, seen_BV, uniform_B2, end, sampling) -> State:
  token_B = jnp.where(done_B, jnp.maximum(end, 0), sample(logits_BV, uniform_B2, sampling, seen_BV))
  if seen_BV is not None:
    seen_BV = seen_BV.at[jnp.arange(token_B.shape[0]), token_B].set(True)
  return State(cache, token_B, done_B | (token_B == end), seen_BV)
