"""Shapes and options of the models of words, as configs and checkpoints say them; no JAX, as decoder_config.py."""

import dataclasses

from mlsd_jax.errors import UserError
from mlsd_jax.schema import Dropout, Positive

KINDS = ('bigram', 'mlp', 'wavenet', 'rnn', 'gru', 'lstm', 'bow', 'transformer')


@dataclasses.dataclass(frozen=True)
class NameConfig:
  """Kind and size of a model.

  Attributes:
    kind: one of KINDS.
    length: the most places of a word (boundary included).
    context: characters that 'mlp' sees; for 'wavenet' a power of two.
    kaiming: 'mlp' starts with Kaiming's gain for tanh; else smaller, as PyTorch does by default.
    norm: batch normalisation in 'mlp' ('wavenet' always has it).
  """

  kind: str
  vocab_size: Positive
  length: Positive
  context: Positive = 3
  embed_dim: Positive = 64
  hidden_dim: Positive = 64
  num_layers: Positive = 4
  num_heads: Positive = 4
  kaiming: bool = False
  norm: bool = False
  dropout: Dropout = 0.0

  @property
  def whole_batch(self) -> bool:
    """Whether batch normalisation makes what is computed of a word in training depend on the others of its batch."""
    return self.kind == 'wavenet' or (self.kind == 'mlp' and self.norm)

  def __post_init__(self):
    if self.kind not in KINDS:
      raise UserError(f'no model {self.kind!r}; there are {", ".join(KINDS)}')
    if self.kind == 'transformer' and self.embed_dim % self.num_heads:
      raise UserError(f'embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}')
    if self.kind == 'wavenet' and (self.context < 2 or self.context & (self.context - 1)):
      raise UserError(f'the context of a wavenet is a power of two, not {self.context}')
    if self.context < 1 or not 0 <= self.dropout < 1:
      raise UserError(f'context {self.context} must be positive and dropout {self.dropout} in [0, 1)')
