"""From logits to a token: pure functions of one step, chosen by a `SamplingConfig`.

The filters run in the order repetition penalty, temperature, top-k, top-p, min-p, each on what the one before left.
None of them sorts the vocabulary, which on a CPU takes longer than the model: the cut of top-p is found by 32
bisections of the bits of a float32, which is exact.

Names: B rows, V vocabulary.
"""

import dataclasses

import jax
import jax.numpy as jnp

from mlsd_jax.errors import UserError

_BLOCK = 256  # how many tokens share one entry of the coarse cumulative sum in `categorical`


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
  """How the next token is chosen. The defaults sample from the model's own distribution.

  Attributes:
    temperature: logits are divided by it; 0 takes the most probable token (the first of equals).
    top_k: keep the k most probable tokens (Fan et al. 2018, arXiv:1805.04833); 0 keeps all.
    top_p: keep the smallest set of most probable tokens that holds this probability (Holtzman et al. 2019,
      arXiv:1904.09751); 1 keeps all.
    min_p: keep tokens at least this share as probable as the most probable (arXiv:2407.01082); 0 keeps all.
    repetition_penalty: logits of tokens that the row already holds, prompt included, are divided by it where
      positive and multiplied where negative (CTRL, Keskar et al. 2019, arXiv:1909.05858); 1 changes nothing.
    banned: token ids that are never chosen.

  Equals at the cut of top-k and top-p are all kept.
  """

  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  min_p: float = 0.0
  repetition_penalty: float = 1.0
  banned: tuple[int, ...] = ()

  def __post_init__(self):
    object.__setattr__(self, 'banned', tuple(int(token) for token in self.banned))
    if not 0.0 <= self.temperature < float('inf'):
      raise UserError(f'temperature={self.temperature} must be 0 (greedy) or a positive number')
    if self.top_k < 0 or self.top_k != int(self.top_k):
      raise UserError(f'top_k={self.top_k} must be a whole number, 0 (keep all) or more')
    if not 0.0 < self.top_p <= 1.0:
      raise UserError(f'top_p={self.top_p} must be above 0 and at most 1 (keep all)')
    if not 0.0 <= self.min_p <= 1.0:
      raise UserError(f'min_p={self.min_p} must be from 0 (keep all) to 1')
    if not 0.0 < self.repetition_penalty < float('inf'):
      raise UserError(f'repetition_penalty={self.repetition_penalty} must be a positive number; 1 changes nothing')
    if any(token < 0 for token in self.banned):
      raise UserError(f'banned={self.banned} must be token ids, 0 or more')


PLAIN = SamplingConfig()


def uniforms(keys_B: jax.Array, start: int | jax.Array, number: int) -> jax.Array:
  """The random numbers of tokens start to start + number - 1 of each row, [number, B, 2] in [0, 1).

  A row's numbers follow from its own key and the token's number alone.
  """
  of_token = lambda key, token: jax.random.uniform(jax.random.fold_in(key, token), (2,))
  of_row = jax.vmap(of_token, (0, None))
  return jax.vmap(of_row, (None, 0))(keys_B, start + jnp.arange(number))


def sample(
  logits_BV: jax.Array, uniform_B2: jax.Array, config: SamplingConfig, seen_BV: jax.Array | None = None
) -> jax.Array:
  """One token a row, int32 [B]. What a row gets depends on its own logits and numbers and on no other row.

  Args:
    logits_BV: any float dtype.
    uniform_B2: from `uniforms`.
    seen_BV: which tokens a row holds already; wanted where repetition_penalty is not 1.
  """
  logits_BV = filter_logits(logits_BV, config, seen_BV)
  if config.temperature == 0.0:
    return greedy(logits_BV)
  return categorical(logits_BV, uniform_B2)


def greedy(logits_BV: jax.Array) -> jax.Array:
  """The first of the largest logits, int32 [B]: argmax, at four times its speed on a CPU."""
  vocab = logits_BV.shape[-1]
  largest_BV = jnp.where(logits_BV >= logits_BV.max(-1, keepdims=True), jnp.arange(vocab, dtype=jnp.int32), vocab)
  return jnp.minimum(largest_BV.min(-1), vocab - 1)  # all are NaN: any token


def filter_logits(logits_BV: jax.Array, config: SamplingConfig, seen_BV: jax.Array | None = None) -> jax.Array:
  """float32 logits of the distribution that `config` samples from; tokens that it rules out are at -inf."""
  logits_BV = logits_BV.astype(jnp.float32)
  if config.banned:
    logits_BV = logits_BV.at[:, jnp.array(config.banned)].set(-jnp.inf, mode='drop')
  if config.repetition_penalty != 1.0:
    if seen_BV is None:
      raise ValueError('a repetition penalty needs seen_BV')
    logits_BV = penalise_repetition(logits_BV, seen_BV, config.repetition_penalty)
  if config.temperature == 0.0:
    return logits_BV
  logits_BV = logits_BV / config.temperature
  if 0 < config.top_k < logits_BV.shape[-1]:
    logits_BV = keep_top_k(logits_BV, config.top_k)
  if config.top_p < 1.0:
    logits_BV = keep_top_p(logits_BV, config.top_p)
  if config.min_p > 0.0:
    logits_BV = keep_min_p(logits_BV, config.min_p)
  return logits_BV


def penalise_repetition(logits_BV: jax.Array, seen_BV: jax.Array, penalty: float) -> jax.Array:
  """Logits of seen tokens moved away from being chosen again by the factor `penalty`."""
  penalised_BV = jnp.where(logits_BV < 0, logits_BV * penalty, logits_BV / penalty)
  return jnp.where(seen_BV, penalised_BV, logits_BV)


def keep_top_k(logits_BV: jax.Array, k: int) -> jax.Array:
  """-inf below the k-th largest logit."""
  return jnp.where(logits_BV >= jax.lax.top_k(logits_BV, k)[0][:, -1:], logits_BV, -jnp.inf)


def keep_top_p(logits_BV: jax.Array, p: float) -> jax.Array:
  """-inf outside the smallest set of largest logits whose probabilities sum to at least p."""
  rank_BV, probs_BV = _ordered_bits(logits_BV), jax.nn.softmax(logits_BV, axis=-1)

  def narrow(i, cut_B1):
    candidate_B1 = cut_B1 | (jnp.uint32(1 << 31) >> i)
    mass_B1 = jnp.where(rank_BV >= candidate_B1, probs_BV, 0.0).sum(-1, keepdims=True)
    return jnp.where(mass_B1 >= p, candidate_B1, cut_B1)

  # The largest cut above which the mass is still p, found from the top bit down.
  cut_B1 = jax.lax.fori_loop(0, 32, narrow, jnp.zeros((logits_BV.shape[0], 1), jnp.uint32))
  return jnp.where(rank_BV >= cut_B1, logits_BV, -jnp.inf)


def keep_min_p(logits_BV: jax.Array, share: float) -> jax.Array:
  """-inf where the probability is below `share` of the largest."""
  cut_B1 = logits_BV.max(-1, keepdims=True) + jnp.log(jnp.float32(share))
  return jnp.where(logits_BV >= cut_B1, logits_BV, -jnp.inf)


def categorical(logits_BV: jax.Array, uniform_B2: jax.Array) -> jax.Array:
  """One draw a row from softmax(logits), int32 [B]; never a token at -inf.

  By inversion in two stages, a block of tokens and then a token of it: two random numbers a row, where the Gumbel
  trick (jax.random.categorical) takes one for each token.
  """
  rows, vocab = logits_BV.shape
  blocks = -(-vocab // _BLOCK)
  weights_BV = jnp.exp(logits_BV - logits_BV.max(-1, keepdims=True))
  weights_BV = jnp.pad(weights_BV, ((0, 0), (0, blocks * _BLOCK - vocab)))
  weights_BNK = weights_BV.reshape(rows, blocks, _BLOCK)
  block_B = _invert(weights_BNK.sum(-1), uniform_B2[:, 0])
  weights_BK = jnp.take_along_axis(weights_BNK, block_B[:, None, None], axis=1)[:, 0]
  return block_B * _BLOCK + _invert(weights_BK, uniform_B2[:, 1])


def _invert(weights_BN: jax.Array, uniform_B: jax.Array) -> jax.Array:
  """The first entry whose cumulative weight exceeds a share `uniform` of the total; its own weight is never 0."""
  cumulative_BN = jnp.cumsum(weights_BN, axis=-1)
  target_B1 = uniform_B[:, None] * cumulative_BN[:, -1:]
  # Rounding may lift a cumulative sum at an entry of weight 0, or leave the total at the target: neither may choose it.
  hit_BN = (cumulative_BN > target_B1) & (weights_BN > 0)
  return jnp.where(hit_BN.any(-1), jnp.argmax(hit_BN, axis=-1), jnp.argmax(weights_BN, axis=-1)).astype(jnp.int32)


def _ordered_bits(x: jax.Array) -> jax.Array:
  """float32 -> uint32 of the same order, with -0 equal to 0."""
  bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)
  return jnp.where(bits >> 31, ~bits, bits | jnp.uint32(1 << 31))
