"""From logits to a token: pure functions of one step, whose every setting is an array with an entry a row.

Adjustments come first, in the order bias, repetition penalty, frequency and presence penalty. Then the temperature and
the filters top-k, top-p, min-p, each on what the one before left. None of them sorts the vocabulary, which on a CPU
takes longer than the model: the cuts of top-k and top-p are found by 32 bisections of the bits of a float32, which is
exact.

Names: B rows, V vocabulary, K tokens told beside each; a name without B is of one row.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.schema import ANY

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
    presence_penalty: subtracted from the logits of tokens that were sampled before; the prompt does not count.
    frequency_penalty: subtracted as often as a token was sampled before.
    logit_bias: added to the logits of some token ids: a mapping (kept as pairs), or (id, bias) pairs.
    banned: token ids that are never chosen.

  Equals at the cut of top-k and top-p are all kept.
  """

  temperature: float = 1.0
  top_k: int = 0
  top_p: float = 1.0
  min_p: float = 0.0
  repetition_penalty: float = 1.0
  presence_penalty: Annotated[float, ANY] = 0.0
  frequency_penalty: Annotated[float, ANY] = 0.0
  logit_bias: Mapping[int, float] | tuple[tuple[int, float], ...] = ()
  banned: tuple[int, ...] = ()

  def __post_init__(self):
    object.__setattr__(self, 'banned', tuple(int(token) for token in self.banned))
    pairs = self.logit_bias.items() if isinstance(self.logit_bias, Mapping) else self.logit_bias
    pairs = tuple(sorted((int(token), float(bias)) for token, bias in pairs))
    object.__setattr__(self, 'logit_bias', pairs)
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
    for name in ('presence_penalty', 'frequency_penalty'):
      if not np.isfinite(getattr(self, name)):
        raise UserError(f'{name}={getattr(self, name)} must be a number; 0 changes nothing')
    if any(token < 0 for token in self.banned):
      raise UserError(f'banned={self.banned} must be token ids, 0 or more')
    if any(token < 0 or not np.isfinite(bias) for token, bias in pairs):
      raise UserError(f'logit_bias={dict(pairs)} must give token ids, 0 or more, numbers')

  @property
  def biases(self) -> tuple[tuple[int, float], ...]:
    """logit_bias as (id, bias) pairs in order of the ids."""
    return cast(tuple[tuple[int, float], ...], self.logit_bias)


PLAIN = SamplingConfig()
GREEDY = SamplingConfig(temperature=0.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Settings:
  """The numbers of a SamplingConfig, an array with an entry a row each: of one shape, whatever they are."""

  temperature: Any
  top_k: Any
  top_p: Any
  min_p: Any
  repetition: Any
  presence: Any
  frequency: Any
  has_bias: Any  # bool: bias_V of Marks is not all 0

  @classmethod
  def stack(cls, configs: Sequence[SamplingConfig]) -> 'Settings':
    """The settings of rows as numpy arrays."""
    floats = lambda name: np.array([getattr(config, name) for config in configs], np.float32)
    return cls(
      temperature=floats('temperature'),
      top_k=np.array([min(config.top_k, 2**31 - 1) for config in configs], np.int32),
      top_p=floats('top_p'),
      min_p=floats('min_p'),
      repetition=floats('repetition_penalty'),
      presence=floats('presence_penalty'),
      frequency=floats('frequency_penalty'),
      has_bias=np.array([bool(config.logit_bias or config.banned) for config in configs]),
    )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Marks:
  """What a row marks of each token of the vocabulary, [B, V] (or [V] of one row)."""

  bias: Any  # float32, -inf for what is banned
  seen: Any  # bool: in the prompt or sampled
  count: Any  # int32: how often it was sampled

  @classmethod
  def of_row(
    cls, config: SamplingConfig, vocab: int, prompt: Sequence[int] | np.ndarray, sampled: Sequence[int] = ()
  ) -> 'Marks':
    """The marks of a row that holds a prompt and what was sampled behind it, as numpy arrays [V]."""
    bias_V, seen_V = np.zeros(vocab, np.float32), np.zeros(vocab, bool)
    for token, bias in config.biases:
      if token < vocab:
        bias_V[token] = bias
    bias_V[[token for token in config.banned if token < vocab]] = -np.inf
    seen_V[np.asarray(prompt, np.int64)] = True
    seen_V[np.asarray(sampled, np.int64)] = True
    return cls(bias_V, seen_V, np.bincount(np.asarray(sampled, np.int64), minlength=vocab).astype(np.int32))


def are_used(config: SamplingConfig) -> bool:
  """Whether a row with this config reads its Marks."""
  return bool(
    config.logit_bias
    or config.banned
    or config.repetition_penalty != 1.0
    or config.presence_penalty
    or config.frequency_penalty
  )


class Choice(NamedTuple):
  """A token a row, int32 [B], and the log-probabilities of it [B] and of the K most probable [B, K] before any setting
  (0 in a row that does not ask for them). Arrays of JAX, or of numpy once they are on the host."""

  token: Any
  logprob: Any
  top_token: Any
  top_logprob: Any


def uniforms(seed_2: jax.Array, prompt: jax.Array, sample: jax.Array, start: jax.Array, number: int) -> jax.Array:
  """The random numbers of a row's tokens start to start + number - 1, [number, 2] in [0, 1).

  They follow from the words of its seed (uint32, most significant first), the number of its prompt and of its sample
  of that prompt, and each token's own number alone.
  """
  key = jax.random.wrap_key_data(seed_2, impl='threefry2x32')
  key = jax.random.fold_in(jax.random.fold_in(key, prompt), sample)
  of_token = lambda token: jax.random.uniform(jax.random.fold_in(key, token), (2,))
  return jax.vmap(of_token)(start + jnp.arange(number))


def choose(
  logits_BV: jax.Array, uniform_B2: jax.Array, settings: Settings, marks: Marks, asks_B: jax.Array, number: int
) -> Choice:
  """A token a row. What a row gets depends on its own logits, numbers and settings and on no other row.

  Args:
    logits_BV: any float dtype.
    uniform_B2: from `uniforms`.
    asks_B: which rows want log-probabilities.
    number: K.
  """
  row = lambda each: _choose_row(each, number)
  rows = (logits_BV, uniform_B2, settings, marks, asks_B)
  # On a CPU row by row, so that each pays for what it asks for alone; elsewhere all at once.
  return jax.lax.platform_dependent(rows, cpu=lambda rows: jax.lax.map(row, rows), default=jax.vmap(row))


def _choose_row(row, number: int) -> Choice:
  logits_V, uniform_2, settings, marks, asks = row
  logits_V = logits_V.astype(jnp.float32)
  token = sample(logits_V, uniform_2, settings, marks)
  nothing = (jnp.zeros(()), jnp.zeros(number, jnp.int32), jnp.zeros(number))
  told = jax.lax.cond(asks, lambda: tell(logits_V, token, number), lambda: nothing)
  return Choice(token, *told)


def tell(logits_V: jax.Array, token: jax.Array, number: int) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Log-probability of a token, and the `number` most probable tokens with theirs."""
  logits_V = logits_V.astype(jnp.float32)
  total = jax.nn.logsumexp(logits_V)
  top, index = jax.lax.top_k(logits_V, min(number, logits_V.shape[0]))
  missing = (0, number - top.shape[0])
  return logits_V[token] - total, jnp.pad(index, missing), jnp.pad(top - total, missing, constant_values=-jnp.inf)


def sample(logits_V: jax.Array, uniform_2: jax.Array, settings: Settings, marks: Marks) -> jax.Array:
  """One token of one row, int32."""
  logits_V = adjust(logits_V, settings, marks)
  draw = lambda: categorical(filter_logits(logits_V, settings)[None], uniform_2[None])[0]
  return jax.lax.cond(settings.temperature == 0.0, lambda: greedy(logits_V), draw)


def greedy(logits_V: jax.Array) -> jax.Array:
  """The first of the largest logits, int32: argmax, at four times its speed on a CPU."""
  vocab = logits_V.shape[-1]
  largest_V = jnp.where(logits_V >= logits_V.max(-1, keepdims=True), jnp.arange(vocab, dtype=jnp.int32), vocab)
  return jnp.minimum(largest_V.min(-1), vocab - 1)  # all are NaN: any token


def adjust(logits_V: jax.Array, settings: Settings, marks: Marks) -> jax.Array:
  """float32 logits with bias and penalties."""
  logits_V = logits_V.astype(jnp.float32)
  penalises = (settings.repetition != 1.0) | (settings.presence != 0.0) | (settings.frequency != 0.0)

  def apply_marks():
    biased_V = logits_V + marks.bias
    repeated_V = jnp.where(biased_V < 0, biased_V * settings.repetition, biased_V / settings.repetition)
    repeated_V = jnp.where(marks.seen, repeated_V, biased_V)
    return repeated_V - settings.frequency * marks.count - jnp.where(marks.count > 0, settings.presence, 0.0)

  return jax.lax.cond(penalises | settings.has_bias, apply_marks, lambda: logits_V)


def filter_logits(logits_V: jax.Array, settings: Settings) -> jax.Array:
  """Logits of the distribution that is sampled from; tokens that are ruled out are at -inf. A temperature of 0 is 1."""
  logits_V = logits_V / jnp.where(settings.temperature == 0.0, 1.0, settings.temperature)
  unchanged = lambda logits_V: logits_V
  limits_k = (settings.top_k > 0) & (settings.top_k < logits_V.shape[-1])
  logits_V = jax.lax.cond(limits_k, lambda x: keep_top_k(x, settings.top_k), unchanged, logits_V)
  logits_V = jax.lax.cond(settings.top_p < 1.0, lambda x: keep_top_p(x, settings.top_p), unchanged, logits_V)
  return jax.lax.cond(settings.min_p > 0.0, lambda x: keep_min_p(x, settings.min_p), unchanged, logits_V)


def keep_top_k(logits_V: jax.Array, k: jax.Array) -> jax.Array:
  """-inf below the k-th largest logit."""
  return _keep_largest(logits_V, jnp.ones(logits_V.shape, jnp.int32), k)


def keep_top_p(logits_V: jax.Array, p: jax.Array) -> jax.Array:
  """-inf outside the smallest set of largest logits whose probabilities sum to at least p."""
  return _keep_largest(logits_V, jax.nn.softmax(logits_V, axis=-1), p)


def keep_min_p(logits_V: jax.Array, share: jax.Array) -> jax.Array:
  """-inf where the probability is below `share` of the largest."""
  return jnp.where(logits_V >= logits_V.max(-1, keepdims=True) + jnp.log(share), logits_V, -jnp.inf)


def _keep_largest(logits_V, weight_V, wanted):
  """-inf below the largest cut above which the weights still sum to `wanted`, found from the top bit down."""
  rank_V = _ordered_bits(logits_V)

  def narrow(i, cut):
    candidate = cut | (jnp.uint32(1 << 31) >> i)
    mass = jnp.where(rank_V >= candidate, weight_V, 0).sum(-1)
    return jnp.where(mass >= wanted, candidate, cut)

  return jnp.where(rank_V >= jax.lax.fori_loop(0, 32, narrow, jnp.uint32(0)), logits_V, -jnp.inf)


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
  # A product with a triangle: jnp.cumsum is a tree of slices on CPU, which takes longer to compile than all else here.
  cumulative_BN = (jnp.tri(weights_BN.shape[-1]) * weights_BN[:, None]).sum(-1)
  target_B1 = uniform_B[:, None] * cumulative_BN[:, -1:]
  # Rounding may lift a cumulative sum at an entry of weight 0, or leave the total at the target: neither may choose it.
  hit_BN = (cumulative_BN > target_B1) & (weights_BN > 0)
  return jnp.where(hit_BN.any(-1), jnp.argmax(hit_BN, axis=-1), jnp.argmax(weights_BN, axis=-1)).astype(jnp.int32)


def _ordered_bits(x: jax.Array) -> jax.Array:
  """float32 -> uint32 of the same order, with -0 equal to 0."""
  bits = jax.lax.bitcast_convert_type(jnp.where(x == 0, 0.0, x), jnp.uint32)
  return jnp.where(bits >> 31, ~bits, bits | jnp.uint32(1 << 31))
