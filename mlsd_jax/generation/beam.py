"""Beam search with a length penalty, as 'Attention Is All You Need' decodes (arXiv:1706.03762, section 6.1).

Names: B rows, N hypotheses a row (the beam), L tokens of a hypothesis, V vocabulary.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mlsd_jax.errors import UserError

_WORST = -1e30


class Hypotheses(NamedTuple):
  """The best hypotheses of each row, best first.

  Attributes:
    tokens: int32 [B, N, L + 1], the start first, padding behind the end.
    scores: float32 [B, N]: log-probability over length_penalty; -1e30 where there is no such hypothesis.
  """

  tokens: jax.Array
  scores: jax.Array


class _State(NamedTuple):
  step: jax.Array
  alive: jax.Array  # int32 [B, N, L + 1]
  alive_log_probs: jax.Array  # [B, N]
  ended: jax.Array
  ended_scores: jax.Array


def length_penalty(length: Any, alpha: float) -> Any:
  """((5 + length) / 6)^alpha (Wu et al. 2016, arXiv:1609.08144, eq. 14): by what a log-probability is divided."""
  return ((5.0 + length) / 6.0) ** alpha


@functools.partial(jax.jit, static_argnames=('next_logits', 'rows', 'start', 'end', 'beam', 'max_length', 'alpha'))
def beam_search(
  next_logits: Callable[[Any, jax.Array, jax.Array], jax.Array],
  context: Any,
  *,
  rows: int,
  start: int,
  end: int,
  beam: int = 4,
  max_length: int,
  alpha: float = 0.6,
) -> Hypotheses:
  """The hypotheses of the highest score that a beam finds.

  A hypothesis ends with `end`, which counts to its length. Where a row has none within max_length tokens, those under
  way are given instead. A row's search is over once nothing under way can still beat what has ended.

  Args:
    next_logits: (context, tokens [B, N, L + 1], step) -> logits [B, N, V] behind tokens[..., : step + 1]; what stands
      behind those is padding 0. The whole prefix is read at each step: there is no cache.
    context: any pytree, handed on.
    rows: B.
    max_length: L.
    alpha: of the length penalty; 0 compares plain log-probabilities.

  Raises:
    UserError: a beam or length below 1, or a negative alpha.
  """
  if beam < 1 or max_length < 1 or alpha < 0:
    raise UserError(f'beam={beam} and max_length={max_length} must be 1 or more, alpha={alpha} 0 or more')
  blank_BNL = jnp.zeros((rows, beam, max_length + 1), jnp.int32).at[:, :, 0].set(start)
  none_BN = jnp.full((rows, beam), _WORST)
  first = _State(jnp.zeros((), jnp.int32), blank_BNL, none_BN.at[:, 0].set(0.0), jnp.zeros_like(blank_BNL), none_BN)

  def under_way(state: _State):
    # Log-probabilities only fall and the penalty only grows, so this is the most that can still come.
    best_B = state.alive_log_probs[:, 0] / length_penalty(max_length, alpha)
    return (state.step < max_length) & jnp.any(best_B > state.ended_scores[:, -1])

  def advance(state: _State) -> _State:
    logits_BNV = next_logits(context, state.alive, state.step).astype(jnp.float32)
    log_probs_BNV = state.alive_log_probs[..., None] + jax.nn.log_softmax(logits_BNV, axis=-1)
    vocab = log_probs_BNV.shape[-1]
    # Of twice the beam at most one half ends, so that a whole beam always stays under way.
    width = min(2 * beam, beam * vocab)
    log_probs_BM, index_BM = jax.lax.top_k(log_probs_BNV.reshape(rows, beam * vocab), width)
    token_BM = index_BM % vocab
    tokens_BML = _pick(state.alive, index_BM // vocab).at[:, :, state.step + 1].set(token_BM)
    ends_BM = token_BM == end

    alive_BN, chosen_BN = jax.lax.top_k(jnp.where(ends_BM, _WORST, log_probs_BM), beam)
    is_real_BM = ends_BM & (log_probs_BM > _WORST / 2)  # the beam is not full from the start
    scores_BM = jnp.where(is_real_BM, log_probs_BM / length_penalty(state.step + 1, alpha), _WORST)
    scores_BM = jnp.concatenate([state.ended_scores, scores_BM], axis=1)
    ended_BML = jnp.concatenate([state.ended, tokens_BML], axis=1)
    ended_BN, kept_BN = jax.lax.top_k(scores_BM, beam)
    return _State(
      state.step + 1, _pick(tokens_BML, chosen_BN), jnp.maximum(alive_BN, _WORST), _pick(ended_BML, kept_BN), ended_BN
    )

  last = jax.lax.while_loop(under_way, advance, first)
  ended_B11 = (last.ended_scores[:, :1] > _WORST)[..., None]
  unended_BN = jnp.maximum(last.alive_log_probs / length_penalty(max_length, alpha), _WORST)
  tokens_BNL = jnp.where(ended_B11, last.ended, last.alive)
  return Hypotheses(tokens_BNL, jnp.where(ended_B11[..., 0], last.ended_scores, unended_BN))


def _pick(tokens_BML: jax.Array, index_BN: jax.Array) -> jax.Array:
  return jnp.take_along_axis(tokens_BML, index_BN[..., None], axis=1)
