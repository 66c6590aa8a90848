"""Training the ranker: its losses over groups of candidates, and its Task. (scorer.py: what it is when it serves.)

The logarithm of the share of candidates that a group keeps (ranker_examples.py) is added to the logits here, so that
the model itself learns the odds at the natural rate.

Names: N groups, G candidates of a group, F dense features.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlsd_jax.errors import UserError
from mlsd_jax.models import adapter, sparsenn
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.training.sharding import Rules
from mlsd_jax.training.task import Task, average_loss

RANKER_RULES: Rules = (('(item|code|user)_tables?(/[0-9]+)?$', ('rows', None)),)


@dataclasses.dataclass(frozen=True)
class LossConfig:
  """Weights of the parts of the loss; a part of weight 0 is not computed."""

  bce: float = 1.0
  pairwise: float = 0.0  # RankNet (Burges et al. 2005): log(1 + exp(s_other - s_bought)) over pairs of a group
  listwise: float = 0.0  # softmax over the group (ListNet with equal shares of the purchases; Cao et al. 2007)
  teacher: float = 0.0  # softmax over the group, beside that of LightGBM's scores (distillation; Hinton et al. 2015)
  soon: float = 0.2
  quantity: float = 0.05

  def __post_init__(self):
    if not (self.bce or self.pairwise or self.listwise):
      raise UserError(
        'config.ranker.losses: bce, pairwise or listwise must be above 0, or nothing is learnt of purchases'
      )


def ranker_task(
  config: SparseNNConfig, codes: np.ndarray, bounds: np.ndarray, *, batch_size: int, losses: LossConfig = LossConfig()
) -> Task:
  """Trains SparseNN on batches of Groups (ranker_examples.py).

  Args:
    codes: [num_items + 1, C].
    bounds: [F, Q + 1] of the dense features' buckets.
    batch_size: groups.
  """
  codes_IC, edges_FQ = jnp.asarray(codes), jnp.asarray(bounds)

  def lookups(batch):
    return sparsenn.lookups(_flat(batch), codes_IC, config)

  def metrics_of(params, batch, axis_name=()):
    weights_NG = batch['weights']
    logits_BO = sparsenn.apply_to_rows(params, _flat(batch), edges_FQ, config)
    logits_NGO = logits_BO.reshape(*weights_NG.shape, -1).astype(jnp.float32)
    bought_NG, soon_NG, quantity_NG = jnp.moveaxis(batch['labels'] * weights_NG[..., None], -1, 0)
    score_NG = logits_NGO[..., 0]
    shifted_NG = score_NG + batch['offset'][:, None]
    bce_NG = optax.sigmoid_binary_cross_entropy(shifted_NG, bought_NG)
    total_NG = losses.bce * bce_NG
    if losses.soon:
      soon = optax.sigmoid_binary_cross_entropy(logits_NGO[..., 1] + batch['offset'][:, None], soon_NG)
      total_NG += losses.soon * soon
    if losses.quantity:  # of purchases alone: how many of what was not bought is no question
      total_NG += losses.quantity * bought_NG * jnp.square(logits_NGO[..., 2] - quantity_NG)
    per_group_N = jnp.zeros(len(score_NG))
    hidden_NG = jnp.where(weights_NG > 0, score_NG, -1e9)
    purchases_N = jnp.maximum(bought_NG.sum(-1), 1.0)
    # Both compare candidates of one user and week: between groups there is no order to learn.
    if losses.listwise:
      nll_NG = jax.nn.logsumexp(hidden_NG, -1)[:, None] - score_NG
      per_group_N += losses.listwise * (nll_NG * bought_NG).sum(-1) / purchases_N
    if losses.teacher:
      share_NG = jax.nn.softmax(jnp.where(weights_NG > 0, batch['teacher'], -1e9), -1)
      nll_NG = jax.nn.logsumexp(hidden_NG, -1)[:, None] - score_NG
      per_group_N += losses.teacher * (nll_NG * share_NG).sum(-1)
    if losses.pairwise:
      pairs_NGH = bought_NG[:, :, None] * ((1 - bought_NG) * weights_NG)[:, None]
      cost_NGH = jax.nn.softplus(score_NG[:, None] - score_NG[:, :, None]) * pairs_NGH
      per_group_N += losses.pairwise * cost_NGH.sum((1, 2)) / jnp.maximum(pairs_NGH.sum((1, 2)), 1.0)
    rows = weights_NG.sum()
    if axis_name:
      # A mean over groups beside one over candidates: of the whole batch both, though devices have unlike candidates.
      per_group_N *= jax.lax.pmean(rows, axis_name) / jnp.maximum(rows, 1.0)
    loss = ((total_NG * weights_NG).sum() / jnp.maximum(rows, 1.0)) + per_group_N.mean() * 0.1
    return {'loss': (loss * rows, rows), 'bce': ((bce_NG * weights_NG).sum(), rows)}

  def loss(params, batch, key, axis_name=()):
    del key
    return average_loss(metrics_of(params, batch, axis_name))

  return Task(
    init=lambda key: sparsenn.init(key, config),
    loss=loss,
    evaluate=lambda params, batch: metrics_of(adapter.look_up(params, lookups(batch)), batch),
    lookups=lookups,
    whole_batch=True,
    sharding_rules=RANKER_RULES,
    items_per_batch=batch_size,
    item_name='groups',
  )


def _flat(batch: dict[str, Any]) -> dict[str, Any]:
  """What the model takes of a batch of groups: their candidates one under the other."""
  dense_NGF, item_NG = batch['dense'], batch['item']
  of_rows = {'dense': dense_NGF.reshape(-1, dense_NGF.shape[-1]), 'item': item_NG.reshape(-1)}
  return of_rows | {'user_codes': batch['user_codes'], 'bag': batch['bag']}
