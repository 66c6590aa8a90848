"""Training the ranker: groups of candidates of one user and week, and its Task. (scorer.py: what it is when it serves.)

Negatives are the candidates that were not bought. Of each group all purchases and some of the others are kept; the
logarithm of the share that was kept is added to the logits in training, so that the model itself learns the odds at the
natural rate (prior correction; King & Zeng 2001, section 4.1) and needs none when it serves.

Names: N groups, G candidates of a group, F dense features.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlsd_jax.errors import UserError
from mlsd_jax.models import adapter, sparsenn
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.recsys.stages.candidates import Candidates, sort_best_first
from mlsd_jax.recsys.stages.labels import Labels
from mlsd_jax.recsys.stages.scorer import RankerInputs
from mlsd_jax.training.sharding import Rules
from mlsd_jax.training.task import Task, average_loss

RANKER_RULES: Rules = (('(item|code|user)_tables?(/[0-9]+)?$', ('rows', None)),)


@dataclasses.dataclass(frozen=True)
class Groups:
  """Training examples: dense [N, G, F], item [N, G], user_codes [N, columns], bag [N, L], labels [N, G, heads],
  offset [N] (log of the kept share of purchases over that of the others), weights [N, G] (0
  fills a group up); teacher [N, G] where another ranker's log-odds are learnt from, too."""

  arrays: dict[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.arrays['offset'])

  @classmethod
  def join(cls, parts: Sequence['Groups'], seed: int = 0) -> 'Groups':
    """All of several weeks in one shuffled order, so that a batch is a slice."""
    order = np.random.default_rng(seed).permutation(sum(map(len, parts)))
    return cls({name: np.concatenate([part.arrays[name] for part in parts])[order] for name in parts[0].arrays})

  def taught(self, teacher: np.ndarray) -> 'Groups':
    """The same with the log-odds [N, G] of a teacher."""
    return Groups(self.arrays | {'teacher': teacher})


def make_groups(candidates: Candidates, inputs: RankerInputs, labels: Labels, *, size: int, seed: int = 0) -> Groups:
  """One group a user who bought a candidate: up to size / 2 of the purchases, the rest drawn from the others.

  Args:
    inputs: of the candidates.
    size: at least 2, a purchase and another.
  """
  chex.assert_scalar_in(size, 2, np.inf)
  chex.assert_equal_shape_prefix([candidates.item, inputs.item, labels.bought], 1)
  rng = np.random.default_rng(seed)
  row, bought = candidates.row, labels.bought
  # Purchases lie above 1 and so come first, the others behind them in random order: keeping the first is drawing.
  order = sort_best_first(row, rng.random(len(row)).astype(np.float32) + bought)
  place = np.arange(len(order)) - candidates.start[row[order]]
  num_bought = np.bincount(row, bought, minlength=len(candidates.users)).astype(np.int64)
  kept_bought = np.minimum(num_bought, size // 2)
  num_others = np.diff(candidates.start) - num_bought
  kept_others = np.minimum(num_others, size - kept_bought)
  row_of, is_bought = row[order], bought[order]
  slot = np.where(is_bought, place, place - num_bought[row_of] + kept_bought[row_of])
  keep = np.where(is_bought, place < kept_bought[row_of], slot < (kept_bought + kept_others)[row_of])
  keep &= (num_bought > 0)[row_of]
  group = np.cumsum(num_bought > 0) - 1
  chosen, group_of, slot = order[keep], group[row_of[keep]], slot[keep]
  users = num_bought > 0
  number = int(users.sum())

  def spread(values: np.ndarray) -> np.ndarray:
    out = np.zeros((number, size, *values.shape[1:]), values.dtype)
    out[group_of, slot] = values[chosen]
    return out

  # Leaving out others raises the odds of a purchase by just this ratio. Its logarithm is added to the logits in
  # training, so that the weights learn the odds before anything was left out. Of none, none was left out.
  share = lambda kept, all_: np.where(all_ > 0, kept / np.maximum(all_, 1), 1.0)
  shares = share(kept_bought, num_bought) / share(kept_others, num_others)
  heads = np.stack([bought, labels.soon, np.log1p(labels.quantity)], 1).astype(np.float32)
  return Groups(
    {
      'dense': spread(inputs.dense),
      'item': spread(inputs.item),
      'user_codes': inputs.user_codes[users],
      'bag': inputs.bags[users],
      'labels': spread(heads),
      'offset': np.log(shares[users]).astype(np.float32),
      'weights': spread(np.ones(len(row), np.float32)),
    }
  )


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
  """Trains SparseNN on batches of Groups.

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
