from . import (
  bert,
  bigram,
  families,
  gpt,
  hstu,
  item_losses,
  manual_backprop,
  modern_gpt,
  name_models,
  ngram,
  partial_gpt,
  rotary,
  sequential,
  sparsenn,
  transformer,
  two_tower,
)
from .bert import BertConfig
from .bigram import BigramConfig
from .gpt import GPTConfig
from .modern_gpt import ModernGPTConfig
from .name_models import NameConfig
from .ngram import NGram
from .partial_gpt import PartialGPTConfig
from .sequential import SequentialConfig
from .sparsenn import SparseNNConfig
from .transformer import TransformerConfig
from .two_tower import TwoTowerConfig

__all__ = [
  'BertConfig',
  'BigramConfig',
  'GPTConfig',
  'ModernGPTConfig',
  'NGram',
  'NameConfig',
  'PartialGPTConfig',
  'SequentialConfig',
  'SparseNNConfig',
  'TransformerConfig',
  'TwoTowerConfig',
  'bert',
  'bigram',
  'families',
  'gpt',
  'hstu',
  'item_losses',
  'manual_backprop',
  'modern_gpt',
  'name_models',
  'ngram',
  'partial_gpt',
  'rotary',
  'sequential',
  'sparsenn',
  'transformer',
  'two_tower',
]
