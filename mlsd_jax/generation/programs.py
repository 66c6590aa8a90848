"""What an engine runs on the device: a fixed set of programs, compiled once each for its shapes.

    read      a part of the prompt of one row or several, into the cache
    begin     the first token behind their prompts
    decode    the next tokens of all rows, several steps
    score     log-probabilities of a prompt's own tokens
    cut, paste, mark, draw     a block of a prefix, the marks of a row, random numbers

Names: B rows (all of the cache), R rows (some of them), T tokens of a part, N steps of a dispatch, K tokens told beside
each, V vocabulary.
"""

import collections
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from mlsd_jax.generation import sampling
from mlsd_jax.generation.sampling import Choice, Marks, Settings

compiled: collections.Counter[str] = collections.Counter()  # how many versions of each program there are so far


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
  """The state of all rows before a dispatch, arrays [B]."""

  token: Any  # int32: sampled last, not in the cache yet
  index: Any  # int32: tokens in the cache
  left: Any  # int32: steps that the row may take; 0 where it is not being continued
  end: Any  # int32: the token that ends the row, -1 for none
  asks: Any  # bool: log-probabilities wanted
  settings: Settings


def _program(**options):
  def decorate(function):
    @functools.wraps(function)
    def traced(*args):
      compiled[function.__name__] += 1  # runs when a version is traced, not when it is called
      return function(*args)

    return jax.jit(traced, **options)

  return decorate


@_program(static_argnums=0, donate_argnums=3)
def read(decoder, params, tokens_RT, cache, index_R, rows_R, last_R):
  """Hidden states of parts of prompts that follow `index` tokens of their rows: all [R, T, ...], those that end with
  position `last` [R, 4, ...], and the cache."""
  hidden_RT, cache = decoder.extend(params, tokens_RT, cache, index_R, rows_R)
  # Four positions where one would do: XLA multiplies a single bfloat16 row in a scalar loop on CPU. Before
  # position 3 the first stands for those that are missing.
  positions_R4 = jnp.clip(last_R[:, None] - jnp.arange(3, -1, -1), 0)
  return hidden_RT, jax.vmap(lambda hidden, at: hidden[at])(hidden_RT, positions_R4), cache


@_program(static_argnums=(0, 1), donate_argnums=4)
def begin(decoder, number, params, hidden_R4, marks: Marks, rows_R, uniform_R2, settings: Settings, asks_R):
  """The token behind the last of four positions, as a Choice of some rows, and the marks with it."""
  logits_RV = decoder.logits(params, hidden_R4)[:, -1]
  row_marks = jax.tree.map(lambda each: each[rows_R], marks)
  choice = sampling.choose(logits_RV, uniform_R2, settings, row_marks, asks_R, number)
  return choice, _mark(marks, rows_R, choice.token, jnp.ones(rows_R.shape, bool))


@_program(static_argnums=(0, 1, 2), donate_argnums=(4, 5))
def decode(decoder, capacity, number, params, cache, marks: Marks, rows: Rows, uniform_NB2):
  """Steps until no row has any left: `taken`, a Choice of arrays [capacity, B, ...], the cache and the marks.

  Of a row only as many tokens count as it had steps left, and none behind its `end`.
  """
  batch = rows.token.shape[0]
  empty = Choice(
    jnp.zeros((capacity, batch), jnp.int32),
    jnp.zeros((capacity, batch)),
    jnp.zeros((capacity, batch, number), jnp.int32),
    jnp.zeros((capacity, batch, number)),
  )

  def more(carry):
    taken, left_B = carry[0], carry[3]
    return (taken < capacity) & (left_B > 0).any()

  def step(carry):
    taken, token_B, index_B, left_B, choices, cache, marks = carry
    hidden_B1, cache = decoder.extend(params, token_B[:, None], cache, index_B, None)
    logits_BV = decoder.logits(params, hidden_B1)[:, 0]
    choice = sampling.choose(logits_BV, uniform_NB2[taken], rows.settings, marks, rows.asks, number)
    active_B = left_B > 0
    marks = _mark(marks, jnp.arange(batch), choice.token, active_B)
    choices = jax.tree.map(lambda held, new: held.at[taken].set(new), choices, choice)
    left_B = jnp.where(active_B & (choice.token != rows.end), left_B - 1, 0)
    token_B = jnp.where(active_B, choice.token, token_B)
    return taken + 1, token_B, index_B + active_B, left_B, choices, cache, marks

  start = (jnp.zeros((), jnp.int32), rows.token, rows.index, rows.left, empty, cache, marks)
  taken, _, _, _, choices, cache, marks = jax.lax.while_loop(more, step, start)
  return taken, choices, cache, marks


@_program(static_argnums=(0, 1))
def score(decoder, number, params, hidden_1T, target_T):
  """Log-probability [T] of the tokens that follow each position of a part, and the K most probable [T, K]."""
  logits_TV = decoder.logits(params, hidden_1T)[0]
  return jax.lax.map(lambda each: sampling.tell(each[0], each[1], number), (logits_TV, target_T))


@_program(static_argnums=(0, 1))
def cut(decoder, slots, cache, row, start):
  """A block of a row of the cache, copied."""
  return decoder.cut(cache, row, start, slots)


@_program(static_argnums=0, donate_argnums=1)
def paste(decoder, cache, block, row, start):
  """The cache with a block."""
  return decoder.paste(cache, block, row, start)


@_program(donate_argnums=0)
def mark(marks: Marks, row, new: Marks):
  """The marks with those of one row."""
  return jax.tree.map(lambda held, of_row: held.at[row].set(of_row), marks, new)


@_program(static_argnums=4)
def draw(seed_2, prompt, sample, start, number):
  """Random numbers of one row, apart from `decode`, as their generator takes as long to compile as a layer."""
  return sampling.uniforms(seed_2, prompt, sample, start, number)


def _mark(marks: Marks, row_B, token_B, counts_B) -> Marks:
  count = marks.count.at[row_B, token_B].add(counts_B.astype(jnp.int32))
  return Marks(marks.bias, marks.seen.at[row_B, token_B].max(counts_B), count)
