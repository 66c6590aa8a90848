"""What the variants of the modern decoder (models/modern_gpt.py) share; a variant changes what it names."""

import dataclasses

from ml_collections import ConfigDict

from configs.gpt2 import _base
from mlsd_jax.models.decoder_config import ModernGPTConfig


def base() -> ConfigDict:
  """The sections of GPT-2's variants with the other decoder: all of its options, Llama's by default."""
  config = _base.base()
  shape = ModernGPTConfig(vocab_size=1, context_length=1024, num_layers=12, num_heads=12, embed_dim=768)
  fields = dataclasses.asdict(shape)
  del fields['vocab_size']  # the tokenizer's
  config.model = ConfigDict({'kind': 'modern', **fields, 'vocab_multiple': 128})
  return config
