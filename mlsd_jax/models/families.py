"""Which module computes with a config: every family of decoders has the same functions, under the same names."""

from typing import Any

from mlsd_jax.models import gpt, modern_gpt, partial_gpt
from mlsd_jax.models.decoder_config import KINDS as KINDS
from mlsd_jax.models.decoder_config import DecoderConfig
from mlsd_jax.models.decoder_config import read_config as read_config


def functions_of(config: DecoderConfig) -> Any:
  """models/gpt.py, models/modern_gpt.py or models/partial_gpt.py.

  Each has bind, init, apply, token_losses, init_cache, apply_cached, head, num_params and flops_per_token.
  """
  if isinstance(config, modern_gpt.ModernGPTConfig):
    return modern_gpt
  return partial_gpt if isinstance(config, partial_gpt.PartialGPTConfig) else gpt


def kind_of(config: DecoderConfig) -> str:
  """The name in KINDS."""
  return 'modern' if isinstance(config, modern_gpt.ModernGPTConfig) else 'gpt'
