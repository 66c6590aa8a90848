"""Parameters of the models of words, by closed forms (sizes: fields of NameConfig)."""

from collections.abc import Mapping
from typing import Any

from mlsd_jax.estimates import transformer

_GATES = {'rnn': 1, 'gru': 3, 'lstm': 4}
_NORM = 4  # batch normalisation: scale, bias, and the mean and variance that are kept beside them


def parameters(sizes: Mapping[str, Any]) -> int:
  """All of them, exactly. Names: V vocabulary, D embedding, H hidden units, K context, G gates."""
  vocab, width, hidden, context = (sizes[name] for name in ('vocab_size', 'embed_dim', 'hidden_dim', 'context'))
  table, out = vocab * width, hidden * vocab + vocab
  kind = sizes['kind']
  if kind == 'bigram':
    return vocab**2
  if kind == 'mlp':  # K D H + H
    return table + context * width * hidden + hidden + sizes['norm'] * _NORM * hidden + out
  if kind == 'wavenet':  # log2 K convolutions of two taps: 2 D H, then 2 H H each
    depth = context.bit_length() - 1
    return table + 2 * hidden * (width + (depth - 1) * hidden) + depth * _NORM * hidden + out
  if kind in _GATES:  # G H (D + H + 1), and the first state
    return table + _GATES[kind] * hidden * (width + hidden + 1) + hidden + out
  if kind == 'bow':
    mixing = width * hidden + hidden + hidden * width + width
    return table + sizes['length'] * width + mixing + width * vocab + vocab
  shape = {name: sizes[name] for name in ('num_layers', 'num_heads', 'embed_dim')}
  return transformer.of_gpt(shape | {'context_length': sizes['length']}, vocab).parameters
