"""Shapes and options of the decoders, as configs and checkpoints say them.

No JAX here: who reads a config, as the estimates do, needs none of the models.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from mlsd_jax.errors import UserError
from mlsd_jax.schema import Dropout, Positive, above, from_mapping

SIZES = {
  'gpt2': dict(num_layers=12, num_heads=12, embed_dim=768),
  'gpt2-medium': dict(num_layers=24, num_heads=16, embed_dim=1024),
  'gpt2-large': dict(num_layers=36, num_heads=20, embed_dim=1280),
  'gpt2-xl': dict(num_layers=48, num_heads=25, embed_dim=1600),
}
ATTENTIONS = ('xla', 'cudnn', 'splash')  # see models/attention.py
REMATS = ('none', 'full', 'dots')
ACTIVATIONS = ('swiglu', 'squared_relu')
SUBLAYERS = ('attention', 'mlp')  # see models/partial_gpt.py
SCALINGS = ('none', 'linear', 'llama3', 'yarn')


@dataclasses.dataclass(frozen=True)
class GPTConfig:
  """Shape and options of a GPT. The defaults are GPT-2 124M."""

  vocab_size: Positive = 50257
  context_length: Positive = 1024
  num_layers: Positive = 12
  num_heads: Positive = 12
  embed_dim: Positive = 768
  dropout: Dropout = 0.0  # on embeddings, attention weights and both residual branches, as in the paper (0.1)
  use_bias: bool = True  # in linear layers and layer norms; GPT-2 has them, many later models do well without
  attention: str = 'xla'  # see models/attention.py
  # One block traced and compiled once, its parameters stacked, under lax.scan: compile time no longer grows with depth.
  # But XLA can then no longer fuse across layers, which on a CPU costs more than it saves.
  scan_layers: bool = False
  # The backward pass needs every activation of the forward pass. Rematerialisation keeps only each block's input and
  # makes the rest again: 'full' does so for everything, 'dots' keeps the matrix products, which are dear to repeat.
  remat: str = 'none'
  # 50,257 is no multiple of anything: a table padded to one of 128 fills the tiles of tensor cores and can be split
  # over devices. The rows added take no probability (cross_entropy.py) and come out of no logit.
  vocab_multiple: Positive = 1
  loss_chunks: Positive = 1  # see linear_cross_entropy

  def __post_init__(self):
    if self.embed_dim % self.num_heads:
      raise ValueError(f'embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}')
    if self.attention not in ATTENTIONS:
      raise ValueError(f'attention={self.attention!r} is not one of {", ".join(ATTENTIONS)}')
    if self.remat not in REMATS:
      raise ValueError(f'remat={self.remat!r} is not one of {", ".join(REMATS)}')
    if not 0.0 <= self.dropout < 1.0:
      raise ValueError(f'dropout={self.dropout} is not in [0, 1)')

  @property
  def head_dim(self) -> int:
    return self.embed_dim // self.num_heads

  @property
  def padded_vocab_size(self) -> int:
    return math.ceil(self.vocab_size / self.vocab_multiple) * self.vocab_multiple


@dataclasses.dataclass(frozen=True)
class PartialGPTConfig(GPTConfig):
  """A GPTConfig and the one sublayer, attention or mlp, that a block consists of."""

  sublayers: str = 'attention'

  def __post_init__(self):
    super().__post_init__()
    if self.sublayers not in SUBLAYERS:
      raise ValueError(f'sublayers={self.sublayers!r} is not one of {", ".join(SUBLAYERS)}')
    if self.scan_layers:
      raise ValueError('scan_layers=True is for whole GPTs; the few blocks of a partial one are unrolled')


@dataclasses.dataclass(frozen=True)
class BigramConfig:
  """Attributes: vocab_size: V. context_length: of its training windows; the model itself sees one token."""

  vocab_size: Positive
  context_length: Positive = 64


@dataclasses.dataclass(frozen=True)
class RotaryConfig:
  """Of `factor` and what follows it, a scaling reads what its line names; 'none' reads nothing."""

  theta: Annotated[float, above(1)] = 10_000.0
  scaling: Literal['none', 'linear', 'llama3', 'yarn'] = 'none'  # see compute_frequencies
  factor: Annotated[float, above(0)] = 1.0  # how many times longer the context is than that of the first training
  original_length: Positive = 8192  # llama3, yarn: that first context, tokens
  # llama3, yarn: pairs that turn less often than `slow` within the first context are slowed down by the factor, those
  # that turn more often than `fast` are left as they were, and between the two it is something between. (Llama 3: 1
  # and 4. YaRN: 1 and 32.)
  slow: Annotated[float, above(0)] = 1.0
  fast: Annotated[float, above(0)] = 4.0
  attention_factor: float = 0.0  # yarn: queries and keys are multiplied by it; 0 stands for 0.1 ln(factor) + 1

  def __post_init__(self):
    if self.scaling not in SCALINGS:
      raise UserError(f'rotary.scaling={self.scaling!r} is not one of {", ".join(SCALINGS)}')
    if self.fast <= self.slow:
      raise UserError(f'rotary.fast={self.fast} must be above rotary.slow={self.slow}')


@dataclasses.dataclass(frozen=True)
class ModernGPTConfig:
  """Shape and options. The defaults are Llama's."""

  vocab_size: Positive
  context_length: Positive
  num_layers: Positive
  num_heads: Positive
  embed_dim: Positive
  num_kv_heads: int = 0  # heads of keys and values, a divisor of num_heads; 0 is num_heads
  head_dim: int = 0  # even; 0 is embed_dim / num_heads
  mlp_dim: int = 0  # 0: of the size at which the MLP has GPT-2's number of weights, 8 D^2
  activation: Literal['swiglu', 'squared_relu'] = 'swiglu'
  norm_scale: bool = True  # a learned factor a feature in every norm
  norm_epsilon: Annotated[float, above(0)] = 1e-5
  qkv_bias: bool = False  # Qwen 2.5
  qk_norm: bool = False  # Qwen 3 and the speedrun: scores cannot grow with the size of queries and keys
  attention_scale: float = 0.0  # of the scores; 0 is 1 / sqrt(head_dim)
  rotary: RotaryConfig = dataclasses.field(default_factory=RotaryConfig)
  window: int = 0  # tokens that an attention of windows sees, its own among them
  window_pattern: str = 'L'  # a letter a layer, repeated: L sees all that went before, S a window
  tied_head: bool = False  # the token embedding is the output head, too
  embedding_norm: bool = False  # a norm behind the embedding
  logit_softcap: float = 0.0  # see cross_entropy.cap_logits; 0 is none
  value_residual: bool = False  # a learned mix of each layer's values with the first layer's
  value_embeddings: tuple[int, ...] = ()  # layers to whose values a table of their own adds a vector a token
  init_stddev: Annotated[float, above(0)] = 0.02
  embedding_stddev: Annotated[float, above(0)] = 0.02
  zero_outputs: bool = False  # output projections and an untied head begin at 0: every block as the identity
  attention: str = 'xla'  # see models/attention.py; the following are as in GPTConfig
  scan_layers: bool = False
  remat: str = 'none'
  vocab_multiple: Positive = 1
  loss_chunks: Positive = 1

  dropout: ClassVar[float] = 0.0  # today's decoders are trained on more text than they could memorise

  def __post_init__(self):
    if not self.head_dim and self.embed_dim % self.num_heads:
      raise ValueError(f'embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}')
    if self.num_kv_heads and self.num_heads % self.num_kv_heads:
      raise ValueError(f'num_heads {self.num_heads} is not divisible by num_kv_heads {self.num_kv_heads}')
    if self.width_of_head % 2:
      raise ValueError(f'a head of {self.width_of_head} dimensions has no pairs to rotate; it must be even')
    if self.activation not in ACTIVATIONS:
      raise ValueError(f'activation={self.activation!r} is not one of {", ".join(ACTIVATIONS)}')
    if self.attention not in ATTENTIONS:
      raise ValueError(f'attention={self.attention!r} is not one of {", ".join(ATTENTIONS)}')
    if self.remat not in REMATS:
      raise ValueError(f'remat={self.remat!r} is not one of {", ".join(REMATS)}')
    if not self.window_pattern or set(self.window_pattern) - set('LS'):
      raise ValueError(f'window_pattern={self.window_pattern!r} must be made of L (all) and S (a window)')
    if ('S' in self.window_pattern) != (self.window > 0):
      raise ValueError(
        f'window={self.window} goes with an S in window_pattern={self.window_pattern!r}, and only with it'
      )
    outside = [layer for layer in self.value_embeddings if not 0 <= layer < self.num_layers]
    if outside:
      raise ValueError(f'value_embeddings names layer {outside[0]}; there are 0 to {self.num_layers - 1}')
    if self.scan_layers and (len(set(self.windows)) > 1 or self.value_embeddings):
      raise ValueError('scan_layers=True is for layers that are alike: with one window, without value_embeddings')

  @property
  def kv_heads(self) -> int:
    return self.num_kv_heads or self.num_heads

  @property
  def width_of_head(self) -> int:
    return self.head_dim or self.embed_dim // self.num_heads

  @property
  def inner_dim(self) -> int:
    # Two matrices of 4 D, or three of 8/3 D (Shazeer 2020, arXiv:2002.05202), here a multiple of 32.
    usual = 4 * self.embed_dim if self.activation == 'squared_relu' else -(-8 * self.embed_dim // 96) * 32
    return self.mlp_dim or usual

  @property
  def windows(self) -> tuple[int, ...]:
    """Of each layer; 0 sees everything."""
    letters = (self.window_pattern[i % len(self.window_pattern)] for i in range(self.num_layers))
    return tuple(self.window if letter == 'S' else 0 for letter in letters)

  @property
  def padded_vocab_size(self) -> int:
    return math.ceil(self.vocab_size / self.vocab_multiple) * self.vocab_multiple


type DecoderConfig = GPTConfig | ModernGPTConfig

KINDS: dict[str, type] = {'gpt': GPTConfig, 'modern': ModernGPTConfig}


def read_config(values: Mapping[str, Any], where: str = 'model', **known: Any) -> DecoderConfig:
  """The config of a section or of a checkpoint's metadata: 'kind' (by default gpt) and the fields of that class.

  Args:
    where: the section, for messages.
    known: fields that do not stand there, such as vocab_size.

  Raises:
    UserError: an unknown kind or key, or a bad value.
  """
  fields = {**values, **known}
  kind = fields.pop('kind', 'gpt')
  if kind not in KINDS:
    raise UserError(f'config.{where}.kind={kind!r} is not one of {", ".join(KINDS)}')
  return from_mapping(KINDS[kind], fields, where)
