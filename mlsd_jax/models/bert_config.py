"""Shape and options of BERT's encoder, as configs and folders say them; no JAX, as in decoder_config.py."""

import dataclasses
from typing import Protocol

SIZES = {
  'minilm-l6': dict(num_layers=6, num_heads=12, embed_dim=384, mlp_dim=1536),
  'e5-small': dict(num_layers=12, num_heads=12, embed_dim=384, mlp_dim=1536),
  'base': dict(num_layers=12, num_heads=12, embed_dim=768, mlp_dim=3072),
  'large': dict(num_layers=24, num_heads=16, embed_dim=1024, mlp_dim=4096),
}
HEADS = ('pooler', 'mlm', 'score')


@dataclasses.dataclass(frozen=True)
class BertConfig:
  """Shape and options of an encoder. The defaults are BERT base, uncased."""

  vocab_size: int = 30522
  context_length: int = 512
  num_types: int = 2  # segments: 0 for the first text, 1 for the second of a pair
  num_layers: int = 12
  num_heads: int = 12
  embed_dim: int = 768
  mlp_dim: int = 3072
  norm_epsilon: float = 1e-12
  dropout: float = 0.0  # on embeddings, attention weights and both residual branches; the paper trains with 0.1
  heads: tuple[str, ...] = ()  # which of HEADS the parameters hold, in that order
  # The row of the first token's position: 2 in XLM-R. (Not shown, so that BERT's fingerprints are what they were.)
  first_position: int = dataclasses.field(default=0, repr=False)

  def __post_init__(self):
    if self.embed_dim % self.num_heads:
      raise ValueError(f'embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}')
    if self.heads != tuple(head for head in HEADS if head in self.heads):
      raise ValueError(f'heads={self.heads} are not some of {HEADS}, in that order')
    if 'score' in self.heads and 'pooler' not in self.heads:
      raise ValueError('the head "score" stands on the head "pooler"')
    if not 0.0 <= self.dropout < 1.0:
      raise ValueError(f'dropout={self.dropout} is not in [0, 1)')

  @property
  def head_dim(self) -> int:
    return self.embed_dim // self.num_heads

  @property
  def mlp_matrices(self) -> int:
    return 2


class EncoderConfig(Protocol):
  """What the functions of models/bert.py take: a BertConfig, or a ModernBertConfig of models/modern_bert.py."""

  @property
  def vocab_size(self) -> int: ...
  @property
  def context_length(self) -> int: ...
  @property
  def num_types(self) -> int: ...
  @property
  def num_layers(self) -> int: ...
  @property
  def embed_dim(self) -> int: ...
  @property
  def mlp_dim(self) -> int: ...
  @property
  def mlp_matrices(self) -> int: ...
  @property
  def norm_epsilon(self) -> float: ...
  @property
  def dropout(self) -> float: ...
  @property
  def heads(self) -> tuple[str, ...]: ...
