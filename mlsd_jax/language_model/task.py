"""Next-token prediction as a Task."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mlsd_jax.models import bigram
from mlsd_jax.models.decoder_config import ModernGPTConfig
from mlsd_jax.models.families import DecoderConfig, functions_of, kind_of
from mlsd_jax.training.sharding import Rules
from mlsd_jax.training.task import Task, average_loss

_PROBED_LAYERS = 2  # of the model by which microbatches are chosen
# Tensor parallelism after Megatron-LM (Shoeybi et al. 2019, arXiv:1909.08053): heads and the MLP's inner width are
# split, so that a block needs one reduction after attention and one after the MLP. FSDP takes the model width.
GPT_RULES: Rules = (
  ('token_embedding$', ('vocab', 'embed')),
  ('position_embedding$', (None, 'embed')),
  ('attention/qkv/kernel$', ('embed', None, 'heads', None)),
  ('attention/qkv/bias$', (None, 'heads', None)),
  ('attention/out/kernel$', ('heads', None, 'embed')),
  ('mlp/up/kernel$', ('embed', 'mlp')),
  ('mlp/up/bias$', ('mlp',)),
  ('mlp/down/kernel$', ('mlp', 'embed')),
  ('(out|down)/bias$', ('embed',)),
  ('norm[^/]*/(scale|bias)$', ('embed',)),
)
# The same of models/modern_gpt.py. Where there are fewer heads of keys and values than devices, they are left whole.
MODERN_RULES: Rules = (
  ('(^|/)(token_embedding|value_embeddings/[0-9]+|head)$', ('vocab', 'embed')),
  ('attention/(query|key|value)/kernel$', ('embed', 'heads', None)),
  ('attention/(query|key|value)/bias$', ('heads', None)),
  ('attention/out/kernel$', ('heads', None, 'embed')),
  ('mlp/(gate|up)/kernel$', ('embed', 'mlp')),
  ('mlp/down/kernel$', ('mlp', 'embed')),
  ('(norm_[12]|embedding_norm|final_norm)/scale$', ('embed',)),
)


def sharding_rules(config: DecoderConfig) -> Rules:
  """Of the parameters that functions_of(config).init makes."""
  return MODERN_RULES if kind_of(config) == 'modern' else GPT_RULES


def gpt_task(config: DecoderConfig, *, batch_size: int, length: int) -> Task:
  """Trains a GPT, of its paper, partial or modern, on {'tokens': [B, length + 1]}, with optional 'weights' [B, length]
  on the targets, and 'documents' [B, length] where a row holds several (not for a partial one).

  Dropout is on in training when config.dropout > 0.
  """
  model = functions_of(config)
  task = _next_token_task(
    lambda key: model.init(key, config),
    lambda params, *inputs, **options: model.token_losses(params, *inputs, config, **options),
    rules=sharding_rules(config),
    flops_per_token=model.flops_per_token(config, length),
    tokens_per_batch=batch_size * length,
    random=config.dropout > 0.0,
  )
  if config.dropout > 0.0:  # a microbatch draws its own masks
    return task
  return dataclasses.replace(task, probe=lambda: gpt_task(_shorten(config), batch_size=batch_size, length=length))


def _shorten(config: DecoderConfig) -> DecoderConfig:
  layers = min(config.num_layers, _PROBED_LAYERS)
  if isinstance(config, ModernGPTConfig):
    embedded = tuple(layer for layer in config.value_embeddings if layer < layers)
    return dataclasses.replace(config, num_layers=layers, value_embeddings=embedded)
  return dataclasses.replace(config, num_layers=layers)


def bigram_task(config: bigram.BigramConfig, *, batch_size: int, length: int) -> Task:
  """Trains a bigram table on the batches of `gpt_task`."""
  return _next_token_task(
    lambda key: bigram.init(key, config),
    lambda params, tokens, targets, **_: bigram.token_losses(params, tokens, targets, config),
    rules=(),
    flops_per_token=6.0 * config.vocab_size**2,
    tokens_per_batch=batch_size * length,
    random=False,
  )


def _next_token_task(
  init: Callable[[jax.Array], Any],
  nll: Callable[..., jax.Array],
  *,
  rules: Rules,
  flops_per_token: float,
  tokens_per_batch: int,
  random: bool,
) -> Task:
  """The task of any model with a cross-entropy [B, T] of (params, tokens, targets, key=, documents_BT=)."""

  def token_losses(params, batch, key):
    packed = {'documents_BT': batch['documents']} if 'documents' in batch else {}
    nll_BT = nll(params, batch['tokens'][:, :-1], batch['tokens'][:, 1:], key=key, **packed)
    weights_BT = batch.get('weights', jnp.ones(nll_BT.shape, jnp.float32))
    return {'loss': (jnp.sum(nll_BT * weights_BT), jnp.sum(weights_BT))}

  def loss(params, batch, key):
    return average_loss(token_losses(params, batch, key if random else None))

  return Task(
    init=init,
    loss=loss,
    evaluate=lambda params, batch: token_losses(params, batch, None),
    sharding_rules=rules,
    flops_per_batch=flops_per_token * tokens_per_batch,
    items_per_batch=tokens_per_batch,
    item_name='tokens',
  )
