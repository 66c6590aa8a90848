from . import (
  bert,
  bigram,
  gpt,
  manual_backprop,
  name_models,
  ngram,
  partial_gpt,
  sparsenn,
  transformer,
  two_tower,
)
from .bert import BertConfig
from .bigram import BigramConfig
from .gpt import GPTConfig
from .name_models import NameConfig
from .ngram import NGram
from .partial_gpt import PartialGPTConfig
from .sparsenn import SparseNNConfig
from .transformer import TransformerConfig
from .two_tower import TwoTowerConfig

__all__ = [
  'BertConfig',
  'BigramConfig',
  'GPTConfig',
  'NGram',
  'NameConfig',
  'PartialGPTConfig',
  'SparseNNConfig',
  'TransformerConfig',
  'TwoTowerConfig',
  'bert',
  'bigram',
  'gpt',
  'manual_backprop',
  'name_models',
  'ngram',
  'partial_gpt',
  'sparsenn',
  'transformer',
  'two_tower',
]
