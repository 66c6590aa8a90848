"""Training the sequence model (models/sequential.py): its Task, with the losses of models/item_losses.py."""

import jax
import jax.numpy as jnp

from mlsd_jax.errors import UserError
from mlsd_jax.models import item_losses, sequential
from mlsd_jax.models.cross_entropy import linear_cross_entropy
from mlsd_jax.models.sequential import SequentialConfig
from mlsd_jax.training.sharding import Rules
from mlsd_jax.training.task import Task, average_loss, gather_rows

LOSSES = ('sampled_softmax', 'softmax', 'gbce')
# Rows of the table are split over the mesh; an id's row then lives on one device.
SEQUENCE_RULES: Rules = (('item_table$', ('rows', None)),)
_DEPTH = 100  # of the recall that evaluation tells


def sequence_task(
  config: SequentialConfig, *, batch_size: int, loss: str = 'sampled_softmax', calibration: float = 0.75
) -> Task:
  """Trains a sequence model on batches of SequenceBatches.

  Args:
    loss: one of LOSSES. 'softmax' compares with all items and looks the whole table up.
    calibration: of 'gbce', see item_losses.generalised_bce, which asks for uniform negatives.

  Raises:
    UserError: an unknown loss.
  """
  if loss not in LOSSES:
    raise UserError(f'loss={loss!r} is not one of {", ".join(LOSSES)}')

  def lookups(batch):
    names = ('history', 'target', 'negative')
    return {'item_table': jnp.concatenate([sequential.rows_of(batch[name], config).reshape(-1) for name in names])}

  def of_all_items(params, batch, key):
    """Nats of each target, [B, T]."""
    hidden_BTD = sequential.apply(params, batch['history'], batch['times'], config, key=key)
    targets_BT = jnp.clip(batch['target'] - 1, 0)
    table_ID = sequential.item_vectors(params, config)
    return linear_cross_entropy(hidden_BTD, table_ID, targets_BT, vocab_size=config.num_items)

  def of_drawn_items(params, batch, key, axis_name):
    """The same of the rows that `lookups` names."""
    target_BT = batch['target']
    size, width = target_BT.size, config.embed_dim
    history_ND, target_ND, drawn_MD = jnp.split(params['item_table'], (size, 2 * size))
    rows_BTD = history_ND.reshape(*target_BT.shape, width)
    given = batch['history'], batch['times'], config
    hidden_ND = sequential.apply_to_rows(params, rows_BTD, *given, key=key).reshape(size, width)
    # Negatives are drawn for the whole batch: each device's serve the rows of all.
    drawn_MD = gather_rows(drawn_MD, axis_name)
    negative_M = gather_rows(batch['negative'], axis_name).reshape(-1)
    positive_N = (hidden_ND * target_ND).sum(-1)
    logits_NM = hidden_ND @ drawn_MD.T
    is_target_NM = target_BT.reshape(-1, 1) == negative_M
    if loss == 'gbce':
      loss_N = item_losses.generalised_bce(
        positive_N, logits_NM, is_target_NM, num_items=config.num_items, calibration=calibration
      )
    else:
      log_expected_M = gather_rows(batch['log_expected'], axis_name).reshape(-1)
      loss_N = item_losses.sampled_softmax(positive_N, logits_NM, log_expected_M, is_target_NM)
    return loss_N.reshape(target_BT.shape)

  def loss_of(params, batch, key, axis_name=()):
    weights_BT = batch['weights']
    loss_BT = of_all_items(params, batch, key) if loss == 'softmax' else of_drawn_items(params, batch, key, axis_name)
    return average_loss({'loss': ((loss_BT * weights_BT).sum(), weights_BT.sum())})

  def evaluate(params, batch):
    """Nats of what came after the history under the softmax over all items, and its share among the best 100."""
    logits_BI = user_vectors(params, batch, config) @ sequential.item_vectors(params, config).T
    places_BP = jnp.clip(batch['positives'] - 1, 0)
    weights_B = batch['weights']
    weights_BP = (batch['positives'] > 0) * weights_B[:, None]
    own_BP = jnp.take_along_axis(logits_BI, places_BP, 1)
    last_B = jax.lax.top_k(logits_BI, min(_DEPTH, logits_BI.shape[1]))[0][:, -1]
    found_B = ((own_BP >= last_B[:, None]) * weights_BP).sum(1) / jnp.maximum(weights_BP.sum(1), 1)
    nll_BP = jax.nn.logsumexp(logits_BI, 1)[:, None] - own_BP
    return {
      'loss': ((nll_BP * weights_BP).sum(), weights_BP.sum()),
      f'recall@{_DEPTH}': (found_B @ weights_B, weights_B.sum()),
    }

  return Task(
    init=lambda key: sequential.init(key, config),
    loss=loss_of,
    evaluate=evaluate,
    lookups=None if loss == 'softmax' else lookups,
    whole_batch=True,
    sharding_rules=SEQUENCE_RULES,
    items_per_batch=batch_size * config.sequence_length,
    item_name='events',
  )


def user_vectors(params, batch, config: SequentialConfig) -> jax.Array:
  """[B, D] of histories and times [B, T]: what the last item's state says; 0 of an empty history."""
  hidden_BTD = sequential.apply(params, batch['history'], batch['times'], config)
  return sequential.read_last(hidden_BTD, batch['history']).astype(jnp.float32)
