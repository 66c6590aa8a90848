from .encoder import (
  CrossEncoder,
  Encoder,
  load_cross_encoder,
  load_encoder,
)
from .training import (
  ContrastiveConfig,
  CrossEncoderConfig,
  MaskedLMConfig,
  pretrain_mlm,
  train_contrastive,
  train_cross_encoder,
)

__all__ = [
  'ContrastiveConfig',
  'CrossEncoder',
  'CrossEncoderConfig',
  'Encoder',
  'MaskedLMConfig',
  'load_cross_encoder',
  'load_encoder',
  'pretrain_mlm',
  'train_contrastive',
  'train_cross_encoder',
]
