"""Rotary positions (RoPE, Su et al. 2021, arXiv:2104.09864), and how they are stretched over longer contexts.

The head's dimensions are taken as pairs, one from each half, and a pair is turned by an angle that grows with the
position. The product of a query and a key then depends on how far they are apart, and on nothing else of where they
stand. Pair i turns by theta^(-2i / K) radians a token: the first ones quickly, the last ones hardly within a context.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.models.decoder_config import RotaryConfig


def compute_frequencies(config: RotaryConfig, head_dim: int) -> np.ndarray:
  """Radians a token of each pair, float32 [head_dim / 2].

  linear: all pairs slower by the factor, so that new positions fall between the old ones (Chen et al. 2023,
    arXiv:2306.15595).
  llama3: slow pairs by the factor, fast ones not, a straight line in turns between them (Llama 3.1's release).
  yarn: the same with a straight line in the number of the pair (Peng et al. 2023, arXiv:2309.00071, section 3.2).
  """
  pairs = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
  frequencies = (1.0 / np.float32(config.theta) ** pairs).astype(np.float32)
  if config.scaling == 'none':
    return frequencies
  slowed = frequencies / np.float32(config.factor)
  if config.scaling == 'linear':
    return slowed
  if config.scaling == 'llama3':
    turns = config.original_length * frequencies / (2 * math.pi)
    kept = np.clip((turns - config.slow) / (config.fast - config.slow), 0.0, 1.0)
  else:
    # The pair that turns so often within the first context, whole numbers as in YaRN's own code.
    pair_of = lambda turns: (
      head_dim * math.log(config.original_length / (turns * 2 * math.pi)) / (2 * math.log(config.theta))
    )
    first = max(math.floor(pair_of(config.fast)), 0)
    last = min(math.ceil(pair_of(config.slow)), head_dim - 1)
    kept = 1.0 - np.clip((np.arange(head_dim // 2) - first) / max(last - first, 0.001), 0.0, 1.0)
  return (kept * frequencies + (1.0 - kept) * slowed).astype(np.float32)


def rotate(x_BTHK: jax.Array, positions_BT: jax.Array, config: RotaryConfig) -> jax.Array:
  """Queries or keys turned to their positions [B, T] (or [T]); computed in float32, in the dtype of x."""
  frequencies = compute_frequencies(config, x_BTHK.shape[-1])
  angles_BT1K = (positions_BT[..., None].astype(jnp.float32) * frequencies)[..., None, :]
  scale = 1.0
  if config.scaling == 'yarn':
    # Over a longer context the softmax has more keys to choose from; slightly larger scores keep it as sharp.
    scale = config.attention_factor or (0.1 * math.log(config.factor) + 1.0 if config.factor > 1.0 else 1.0)
  cos, sin = jnp.cos(angles_BT1K) * scale, jnp.sin(angles_BT1K) * scale
  first, second = jnp.split(x_BTHK.astype(jnp.float32), 2, axis=-1)
  return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x_BTHK.dtype)
