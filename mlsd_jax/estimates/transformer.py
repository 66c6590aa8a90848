"""A Transformer as its sizes: parameters counted exactly, operations and bytes by closed forms.

Names: N parameters, L layers, D width, H query heads, G key-value heads, K head dimension, F width of the MLP, V rows
of the token table, P positions in the position table, T tokens of a sequence.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Transformer:
  """Sizes and options of a stack of identical blocks.

  Attributes:
    vocab_size: tokens that there are.
    padded_vocab_size: V.
    positions: P, 0 where positions are no parameters (rotary).
    layers, width, heads, kv_heads, head_dim, mlp_width: L, D, H, G, K, F.
    gated: whether the MLP has a third matrix (SwiGLU, Shazeer 2020, arXiv:2002.05202).
    bias, qkv_bias: in linear layers, and in those of queries, keys and values.
    norm_scale, norm_bias: parameters of norms.
    tied: whether the head is the token table.
    types: rows of BERT's segment table.
    embedding_norm: a norm behind the embeddings (BERT).
    final_norm: a norm behind the last block.
    attention, mlp: whether blocks have them.
    causal: whether a token sees only those before it.
    head_norms: whether queries and keys have a norm each.
    others: parameters that are none of these (tables and mixes of values).
    windows: of each layer, tokens that its attention sees; 0, or none named, is all of them.
    context: tokens that a sequence may have; 0 where nothing bounds it.
  """

  vocab_size: int
  positions: int
  layers: int
  width: int
  heads: int
  kv_heads: int
  head_dim: int
  mlp_width: int
  padded_vocab_size: int = 0
  gated: bool = False
  bias: bool = True
  qkv_bias: bool = True
  norm_scale: bool = True
  norm_bias: bool = True
  tied: bool = True
  types: int = 0
  embedding_norm: bool = False
  final_norm: bool = True
  attention: bool = True
  mlp: bool = True
  causal: bool = True
  head_norms: bool = False
  others: int = 0
  windows: tuple[int, ...] = ()
  context: int = 0

  @property
  def table_rows(self) -> int:
    return self.padded_vocab_size or self.vocab_size

  # Parameters

  @property
  def attention_matrices(self) -> int:
    """Weights a block: queries D H K, keys and values 2 D G K, output H K D."""
    return self.attention * self.width * self.head_dim * (2 * self.heads + 2 * self.kv_heads)

  @property
  def mlp_matrices(self) -> int:
    """Weights a block: 2 D F, or 3 D F with a gate."""
    return self.mlp * (2 + self.gated) * self.width * self.mlp_width

  @property
  def block_vectors(self) -> int:
    """Biases and norms a block."""
    biases = self.attention * self.width + self.mlp * ((1 + self.gated) * self.mlp_width + self.width)
    of_heads = self.attention * self.qkv_bias * self.head_dim * (self.heads + 2 * self.kv_heads)
    norms = (self.attention + self.mlp) * self._norm + self.head_norms * self.norm_scale * 2 * self.head_dim
    return self.bias * biases + of_heads + norms

  @property
  def _norm(self) -> int:
    return self.width * (self.norm_scale + self.norm_bias)

  @property
  def tables(self) -> int:
    """Token table, position table, segment table, and the head where it is its own."""
    return self.width * (self.table_rows * (2 - self.tied) + self.positions + self.types)

  @property
  def parameters(self) -> int:
    """N, exactly: what a fresh model of these sizes holds."""
    blocks = self.layers * (self.attention_matrices + self.mlp_matrices + self.block_vectors)
    return self.tables + blocks + self._norm * (self.final_norm + self.embedding_norm) + self.others

  @property
  def approximate_parameters(self) -> int:
    """12 L D^2 + V D + T D: blocks of 4 D^2 and 8 D^2, and two tables."""
    return 12 * self.layers * self.width**2 + (self.vocab_size + self.positions) * self.width

  @property
  def matrix_weights(self) -> int:
    """Weights that take part in a product for every token: all matrices of the blocks, and the head."""
    head = self.vocab_size * self.width if self.causal else 0
    return self.layers * (self.attention_matrices + self.mlp_matrices) + head

  # Operations

  def forward_flops(self, context: float) -> float:
    """Operations of one token that attends to `context` others: 2 a weight, and 4 L H K context for scores and sums.

    (Kaplan et al. 2020, arXiv:2001.08361, table 1.) A layer with a window sees no more than that.
    """
    windows = self.windows or (0,) * self.layers
    seen = sum(min(window or context, context) for window in windows)
    return 2.0 * self.matrix_weights + self.attention * 4.0 * self.heads * self.head_dim * seen

  def training_flops(self, length: int) -> float:
    """Forward and backward a token: 6 a weight in a product, and 12 L H K T (PaLM, arXiv:2204.02311, appendix B).

    As there, attention is counted to all T tokens, also where a mask drops half of them.
    """
    return 3.0 * self.forward_flops(length)

  # Bytes

  def kv_bytes(self, element: float) -> float:
    """Of keys and values of one token: 2 x bytes x G x K x L.

    Grouped heads (Ainslie et al. 2023, arXiv:2305.13245) have G < H.
    """
    return self.attention * 2.0 * element * self.kv_heads * self.head_dim * self.layers

  def activation_elements(self, length: int, remat: str, scores: bool) -> float:
    """Numbers a token that the backward pass needs of all blocks.

    Without rematerialisation of a block: its two inputs and their norms (4 D), queries, keys and values, what attention
    gives (2 H K + 2 G K), and two (with a gate three) of F: 16 D where F = 4 D, the 32 bytes a token and width that are
    left of Korthikanti et al. 2022 (arXiv:2205.05198, eq. 2) without dropout. 'dots' keeps the products, 'full' the
    block's input and one whole block that is made again.

    Args:
      scores: whether attention keeps its weights, H T a token, halved by causality.
    """
    products = self.attention * self.head_dim * (self.heads + 2 * self.kv_heads) + self.attention * self.width
    products += self.mlp * ((1 + self.gated) * self.mlp_width + self.width)
    whole = 2.0 * self.width * (self.attention + self.mlp)
    whole += self.attention * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
    whole += self.mlp * (2 + self.gated) * self.mlp_width
    if scores and self.attention:
      whole += self.heads * length * (0.5 if self.causal else 1.0)
    if remat == 'none':
      return self.layers * whole
    kept = self.width + (products if remat == 'dots' else 0)
    return self.layers * kept + whole


def of_gpt(model: Mapping[str, Any], vocab_size: int) -> Transformer:
  """The sizes of models/gpt.py (or partial_gpt.py) from the `model` section of a config."""
  heads, width = model['num_heads'], model['embed_dim']
  multiple, sublayers = model.get('vocab_multiple', 1), model.get('sublayers', 'both')
  return Transformer(
    vocab_size=vocab_size,
    padded_vocab_size=math.ceil(vocab_size / multiple) * multiple,
    positions=model['context_length'],
    context=model['context_length'],
    layers=model['num_layers'],
    width=width,
    heads=heads,
    kv_heads=heads,
    head_dim=width // heads,
    mlp_width=4 * width,
    bias=model.get('use_bias', True),
    qkv_bias=model.get('use_bias', True),
    norm_bias=model.get('use_bias', True),
    attention=sublayers in ('both', 'attention'),
    mlp=sublayers in ('both', 'mlp'),
  )


def of_modern(model: Mapping[str, Any], vocab_size: int) -> Transformer:
  """The sizes of models/modern_gpt.py from the `model` section of a config, all of whose fields are there."""
  heads, width, layers = model['num_heads'], model['embed_dim'], model['num_layers']
  kv_heads, head_dim = model['num_kv_heads'] or heads, model['head_dim'] or width // heads
  gated, multiple = model['activation'] == 'swiglu', model['vocab_multiple']
  rows = math.ceil(vocab_size / multiple) * multiple
  pattern, tables = model['window_pattern'], len(model['value_embeddings'])
  # A mix has a factor a source: the layer's own values, the first layer's, those of a table.
  mixes = 2 * layers * model['value_residual'] + tables * (1 if model['value_residual'] else 2)
  return Transformer(
    vocab_size=vocab_size,
    padded_vocab_size=rows,
    positions=0,
    context=model['context_length'],
    layers=layers,
    width=width,
    heads=heads,
    kv_heads=kv_heads,
    head_dim=head_dim,
    mlp_width=model['mlp_dim'] or (math.ceil(8 * width / 96) * 32 if gated else 4 * width),
    gated=gated,
    bias=False,
    qkv_bias=model['qkv_bias'],
    norm_scale=model['norm_scale'],
    norm_bias=False,
    head_norms=model['qk_norm'],
    tied=model['tied_head'],
    embedding_norm=model['embedding_norm'],
    others=tables * rows * kv_heads * head_dim + mixes,
    windows=tuple(model['window'] if pattern[i % len(pattern)] == 'S' else 0 for i in range(layers)),
  )


def of_decoder(model: Mapping[str, Any], vocab_size: int) -> Transformer:
  """The sizes of a `model` section of experiments.gpt2, whose `kind` says of which decoder it is."""
  return of_modern(model, vocab_size) if model.get('kind') == 'modern' else of_gpt(model, vocab_size)


def of_bert(sizes: Mapping[str, Any]) -> Transformer:
  """The sizes of models/bert.py without heads from the fields of BertConfig."""
  heads, width = sizes['num_heads'], sizes['embed_dim']
  return Transformer(
    vocab_size=sizes['vocab_size'],
    positions=sizes['context_length'],
    layers=sizes['num_layers'],
    width=width,
    heads=heads,
    kv_heads=heads,
    head_dim=width // heads,
    mlp_width=sizes['mlp_dim'],
    types=sizes['num_types'],
    embedding_norm=True,
    final_norm=False,
    causal=False,
  )


def encoder_decoder_parameters(sizes: Mapping[str, Any]) -> int:
  """Parameters of models/transformer.py from the fields of TransformerConfig: V D, and per layer of each half."""
  width, inner = sizes['embed_dim'], sizes['feedforward_dim']
  attention, mlp, norm = 4 * width * (width + 1), 2 * width * inner + inner + width, 2 * width
  encoder, decoder = attention + mlp + 2 * norm, 2 * attention + mlp + 3 * norm
  return sizes['vocab_size'] * width + sizes['num_layers'] * (encoder + decoder)
