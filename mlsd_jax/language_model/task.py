"""Next-token prediction as a Task."""

import jax.numpy as jnp

from mlsd_jax.models import gpt
from mlsd_jax.training.sharding import Rules
from mlsd_jax.training.task import Task

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


def gpt_task(config: gpt.GPTConfig, *, batch_size: int, length: int) -> Task:
  """Trains a GPT on batches of {'tokens': [B, length + 1]}, with optional 'weights' [B, length] on the targets.

  Dropout is on in training when config.dropout > 0.
  """

  def token_losses(params, batch, key):
    tokens_BT, targets_BT = batch['tokens'][:, :-1], batch['tokens'][:, 1:]
    nll_BT = gpt.token_losses(params, tokens_BT, targets_BT, config, key=key)
    weights_BT = batch.get('weights', jnp.ones(nll_BT.shape, jnp.float32))
    return {'loss': (jnp.sum(nll_BT * weights_BT), jnp.sum(weights_BT))}

  def loss(params, batch, key):
    metrics = token_losses(params, batch, key if config.dropout else None)
    total, weight = metrics['loss']
    return total / weight, metrics

  tokens = batch_size * length
  return Task(
    init=lambda key: gpt.init(key, config),
    loss=loss,
    evaluate=lambda params, batch: token_losses(params, batch, None),
    sharding_rules=GPT_RULES,
    flops_per_batch=gpt.flops_per_token(config, length) * tokens,
    items_per_batch=tokens,
    item_name='tokens',
  )
