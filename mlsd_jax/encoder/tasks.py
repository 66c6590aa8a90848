"""What an encoder is trained for, as Tasks: masked words, telling passages apart, scoring pairs.

Batches hold token ids with -1 for padding, so that a mask need not travel beside them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.models.bert_config import EncoderConfig
from mlsd_jax.training.sharding import Rules
from mlsd_jax.training.task import Task, average_loss, first_row, gather_rows

BERT_RULES: Rules = (
  ('token_embedding$', ('vocab', 'embed')),
  ('(position|type)_embedding$', (None, 'embed')),
  ('qkv/kernel$', ('embed', None, 'heads', None)),
  ('qkv/bias$', (None, 'heads', None)),
  ('out/kernel$', ('heads', None, 'embed')),
  ('up/kernel$', ('embed', 'mlp')),
  ('up/bias$', ('mlp',)),
  ('down/kernel$', ('mlp', 'embed')),
  ('gate_up/kernel$', ('embed', None, 'mlp')),
  ('(out|down)/bias$', ('embed',)),
  ('norm[^/]*/(scale|bias)$', ('embed',)),
)
CROSS_LOSSES = ('listwise', 'binary', 'distil')


def masked_lm_task(config: EncoderConfig, *, batch_size: int, length: int) -> Task:
  """BERT's pretraining (Devlin et al. 2018, section 3.1) without the next-sentence loss, as RoBERTa has it.

  Batches: {'tokens': [B, T] with words masked, 'positions', 'targets', 'weights': [B, M] of those that are asked for}.
  """

  def metrics_of(params, batch, key):
    tokens_BT, mask_BT = _unpadded(batch['tokens'])
    logits_BMV = bert.masked_logits(params, tokens_BT, mask_BT, batch['positions'], config, key=key)
    logits_BMV = logits_BMV.astype(jnp.float32)
    nll_BM = optax.softmax_cross_entropy_with_integer_labels(logits_BMV, batch['targets'])
    weights_BM = batch['weights']
    right_BM = jnp.argmax(logits_BMV, -1) == batch['targets']
    weight = jnp.sum(weights_BM)
    return {'loss': (jnp.sum(nll_BM * weights_BM), weight), 'accuracy': (jnp.sum(right_BM * weights_BM), weight)}

  return _task(metrics_of, config, texts=batch_size, length=length, items=batch_size)


def contrastive_task(
  config: EncoderConfig,
  *,
  batch_size: int,
  passages: int,
  length: int,
  pooling: str,
  temperature: float,
  chunks: int,
) -> Task:
  """A query must find its passage among all of the batch (InfoNCE; van den Oord et al. 2018, arXiv:1807.03748).

  Batches: {'queries': [B, T], 'passages': [B, P, S], 'passage_ids': [B, P], 'weights': [B]}; the first passage of a
  row is the right one, the others are negatives for all queries. A passage with the id of a query's right one is never
  its negative.

  Args:
    passages: P, the right one included.
    length: T + P S, for the FLOPs shown.
    chunks: texts are encoded in this many parts whose activations are made again in the backward pass: the gradient
      of the whole batch in the memory of a part (GradCache; Gao et al. 2021, arXiv:2101.06983). Must divide B.
  """

  def encode(params, tokens_NT, key):
    tokens_NT, mask_NT = _unpadded(tokens_NT)
    return bert.embed(params, tokens_NT, mask_NT, config, pooling, key=key)

  def metrics_of(params, batch, key, axis_name=()):
    rows, count = batch['passages'].shape[:2]
    keys = (None, None) if key is None else jax.random.split(key)
    queries_BD = _in_chunks(encode, params, batch['queries'], chunks, keys[0])
    passages_ND = _in_chunks(encode, params, batch['passages'].reshape(rows * count, -1), chunks, keys[1])
    # Passages of other devices are negatives too: fewer of them would be an easier task, and other gradients.
    scores_BN = queries_BD @ gather_rows(passages_ND, axis_name).T / temperature
    ids_N = gather_rows(batch['passage_ids'].reshape(-1), axis_name)
    own_B = (first_row(rows, axis_name) + jnp.arange(rows)) * count
    same_BN = (ids_N == batch['passage_ids'][:, :1]) & (jnp.arange(len(ids_N)) != own_B[:, None])
    scores_BN = jnp.where(same_BN, -1e30, scores_BN)
    nll_B = optax.softmax_cross_entropy_with_integer_labels(scores_BN, own_B)
    weights_B = batch['weights']
    right_B = jnp.argmax(scores_BN, axis=1) == own_B
    weight = jnp.sum(weights_B)
    return {'loss': (jnp.sum(nll_B * weights_B), weight), 'accuracy': (jnp.sum(right_B * weights_B), weight)}

  return _task(metrics_of, config, texts=batch_size, length=length, items=batch_size, whole_batch=True)


def cross_encoder_task(config: EncoderConfig, *, batch_size: int, passages: int, length: int, loss: str) -> Task:
  """Scores of a query's passages against targets.

  Batches: {'pairs': [B, P, T], 'firsts': [B, P] ids of the query's segment, 'targets': [B, P], 'weights': [B]}.

  Args:
    loss: 'listwise', cross-entropy of the softmax over a query's passages with targets (1 for right ones) as shares;
      'binary', each passage for itself; 'distil', as listwise with the softmax of a teacher's scores as shares.
  """
  if loss not in CROSS_LOSSES:
    raise UserError(f'loss={loss!r} is not one of {", ".join(CROSS_LOSSES)}')

  def metrics_of(params, batch, key):
    rows, count, _ = batch['pairs'].shape
    tokens_NT, mask_NT = _unpadded(batch['pairs'].reshape(rows * count, -1))
    types_NT = (jnp.arange(tokens_NT.shape[1]) >= batch['firsts'].reshape(-1, 1)).astype(jnp.int32)
    scores_BP = bert.score(params, tokens_NT, mask_NT, types_NT, config, key=key).reshape(rows, count)
    targets_BP, weights_B = batch['targets'], batch['weights']
    if loss == 'binary':
      losses_B = jnp.mean(optax.sigmoid_binary_cross_entropy(scores_BP, targets_BP), axis=1)
    else:
      total_B = jnp.maximum(jnp.sum(targets_BP, axis=1, keepdims=True), 1e-9)
      shares_BP = jax.nn.softmax(targets_BP, axis=1) if loss == 'distil' else targets_BP / total_B
      losses_B = optax.softmax_cross_entropy(scores_BP, shares_BP)
    right_B = jnp.argmax(scores_BP, axis=1) == jnp.argmax(targets_BP, axis=1)
    weight = jnp.sum(weights_B)
    return {'loss': (jnp.sum(losses_B * weights_B), weight), 'accuracy': (jnp.sum(right_B * weights_B), weight)}

  return _task(metrics_of, config, texts=batch_size * passages, length=length, items=batch_size)


def _task(
  metrics_of: Any, config: EncoderConfig, *, texts: int, length: int, items: int, whole_batch: bool = False
) -> Task:
  def loss(params, batch, key, **options):
    return average_loss(metrics_of(params, batch, key if config.dropout else None, **options))

  return Task(
    init=lambda key: bert.init(key, config),
    loss=loss,
    evaluate=lambda params, batch: metrics_of(params, batch, None),
    whole_batch=whole_batch,
    sharding_rules=BERT_RULES,
    flops_per_batch=3.0 * texts * length * bert.flops_per_token(config, length),
    items_per_batch=items,
    item_name='examples',
  )


def _unpadded(tokens_NT: jax.Array) -> tuple[jax.Array, jax.Array]:
  return jnp.maximum(tokens_NT, 0), tokens_NT >= 0


def _in_chunks(encode: Any, params: Any, tokens_NT: jax.Array, chunks: int, key: jax.Array | None) -> jax.Array:
  """encode(params, tokens, key) in parts. Row r belongs to part r mod chunks: each device has a share of every part."""
  if chunks == 1:
    return encode(params, tokens_NT, key)
  if tokens_NT.shape[0] % chunks:
    raise UserError(f'{chunks} chunks do not divide {tokens_NT.shape[0]} texts')
  split_CNT = jnp.swapaxes(tokens_NT.reshape(-1, chunks, tokens_NT.shape[1]), 0, 1)
  keys = None if key is None else jax.random.split(key, chunks)
  part = jax.checkpoint(lambda tokens, key: encode(params, tokens, key))
  vectors_CND = jax.lax.map(lambda inputs: part(*inputs), (split_CNT, keys))
  return jnp.swapaxes(vectors_CND, 0, 1).reshape(tokens_NT.shape[0], -1)
