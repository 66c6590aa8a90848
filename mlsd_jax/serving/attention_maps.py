"""Where the heads of a served model look: the attention weights of a text, token by token."""

import threading
from typing import Any

import jax.numpy as jnp
import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.generation.decoders import GPTDecoder
from mlsd_jax.language_model import inspection
from mlsd_jax.models.gpt import GPTConfig
from mlsd_jax.models.partial_gpt import PartialGPTConfig
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.requests import AttentionRequest
from mlsd_jax.serving.text_service import TextService, token_text

MOST_TOKENS = 64  # of a text: weights grow with its square
_looking = threading.Lock()  # one at a time: the models that write go before


def heads_of(service: TextService) -> dict[str, int] | None:
  """{'layers', 'heads', 'tokens'}: of the maps, and of a text at most; None for a model without attention to show."""
  config = getattr(service.decoder, 'config', None)
  if not isinstance(service.decoder, GPTDecoder) or not isinstance(config, GPTConfig):
    return None
  if isinstance(config, PartialGPTConfig) and config.sublayers == 'mlp':
    return None
  return {
    'layers': config.num_layers,
    'heads': config.num_heads,
    'tokens': min(config.context_length, MOST_TOKENS),
  }


def show_attention(body: AttentionRequest, service: TextService) -> dict[str, Any]:
  """Tokens of a text, and weights[layer][head][t]: how query t shares its look among keys 0 to t; they sum to 1.

  Weights are rounded to 4 decimals. The first call for a model compiles it.

  Raises:
    ApiError: a model without attention, a text of no token or of too many.
    UserError: a character that the tokenizer does not know.
  """
  shape = heads_of(service)
  if shape is None:
    raise ApiError(400, f'{service.name} has no attention that can be shown', param='model')
  ids = service.tokenizer.encode(body.text)
  if not 1 <= len(ids) <= shape['tokens']:
    raise UserError(f'the text has {len(ids)} tokens; 1 to {shape["tokens"]} can be shown')
  # One shape for every text: what stands behind a token changes nothing of where it looks.
  padded = np.zeros((1, shape['tokens']), np.int32)
  padded[0, : len(ids)] = ids
  with _looking:
    maps = inspection.attention_maps(service.params, jnp.asarray(padded), service.decoder.config)  # type: ignore[attr-defined]
  weights = [
    [[row[: t + 1] for t, row in enumerate(head)] for head in layer]
    for layer in maps[:, 0, :, : len(ids), : len(ids)].astype(np.float64).round(4).tolist()
  ]
  tokens = [int(token) for token in ids]
  pieces = [token_text(service.tokenizer, token) for token in tokens]
  return {'model': service.name, 'tokens': tokens, 'pieces': pieces, 'weights': weights}
