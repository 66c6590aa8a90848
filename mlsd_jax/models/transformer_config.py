"""Shape of the encoder-decoder, and what a pair costs; no JAX, as decoder_config.py."""

import dataclasses

from mlsd_jax.schema import Dropout, Positive


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """Shape of the model. The defaults are the paper's base model."""

  vocab_size: Positive
  num_layers: Positive = 6  # of the encoder, and of the decoder
  num_heads: Positive = 8
  embed_dim: Positive = 512
  feedforward_dim: Positive = 2048
  dropout: Dropout = 0.1  # on embeddings and on each sublayer's output

  def __post_init__(self):
    if self.embed_dim % self.num_heads or self.embed_dim % 2:
      raise ValueError(f'embed_dim {self.embed_dim} must be even and divisible by num_heads {self.num_heads}')
    if not 0.0 <= self.dropout < 1.0:
      raise ValueError(f'dropout={self.dropout} is not in [0, 1)')


def flops_per_row(config: TransformerConfig, source_length: int, target_length: int) -> float:
  """Forward and backward floating-point operations of one pair: 6 a weight and token, 12 T S D an attention."""
  width, inner = config.embed_dim, config.feedforward_dim
  encoder = source_length * (4 * width**2 + 2 * width * inner)
  decoder = target_length * (6 * width**2 + 2 * width * inner) + source_length * 2 * width**2
  looks = source_length**2 + target_length**2 + source_length * target_length
  head = target_length * width * config.vocab_size
  return 6.0 * (config.num_layers * (encoder + decoder) + head) + 12.0 * config.num_layers * width * looks
