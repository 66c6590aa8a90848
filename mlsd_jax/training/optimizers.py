"""Optimisers and learning-rate schedules by name, built from optax."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from mlsd_jax.errors import UserError
from mlsd_jax.training import muon
from mlsd_jax.training.config import OPTIMIZERS, SCHEDULES, OptimizerConfig
from mlsd_jax.training.sharding import path_string


def learning_rate_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
  """Linear warmup from 0 to the peak, then the named decay to the final rate.

  'rsqrt' falls as 1 / sqrt(step) from the peak on and ignores the final rate: with the peak (D warmup_steps)^-0.5 it is
  the schedule of 'Attention Is All You Need' (arXiv:1706.03762, section 5.3). 'wsd' (warmup, stable, decay: Hu et al.
  2024, arXiv:2404.06395, section 4) stays at the peak and falls linearly over the last share of the steps: a run can be
  made longer from any point before.

  Raises:
    UserError: an unknown schedule, or a warmup that is longer than the decay.
  """
  end = config.decay_steps or steps
  if config.schedule not in SCHEDULES:
    raise UserError(f'optimizer.schedule={config.schedule!r} is not one of {", ".join(SCHEDULES)}')
  if config.warmup_steps >= max(end, 1) and config.warmup_steps:
    raise UserError(f'optimizer.warmup_steps={config.warmup_steps} must be below the {end} steps of the decay')
  decay_steps = max(end - config.warmup_steps, 1)
  if config.schedule == 'cosine':
    alpha = config.final_learning_rate / config.learning_rate if config.learning_rate else 0.0
    decay = optax.cosine_decay_schedule(config.learning_rate, decay_steps, alpha)
  elif config.schedule == 'rsqrt':
    peak_step = max(config.warmup_steps, 1)
    decay = lambda count: config.learning_rate * jnp.sqrt(peak_step / (count + peak_step))
  elif config.schedule == 'wsd':
    cooldown = max(round(config.cooldown_share * decay_steps), 1)
    fall = optax.linear_schedule(config.learning_rate, config.final_learning_rate, cooldown)
    decay = optax.join_schedules([optax.constant_schedule(config.learning_rate), fall], [decay_steps - cooldown])
  elif config.schedule == 'linear':
    decay = optax.linear_schedule(config.learning_rate, config.final_learning_rate, decay_steps)
  else:
    decay = optax.constant_schedule(config.learning_rate)
  if not config.warmup_steps:
    return decay
  # From 1 / (warmup + 1), as a first step at rate 0 would be a step for nothing.
  warmup = lambda count: config.learning_rate * (count + 1) / (config.warmup_steps + 1)
  return optax.join_schedules([warmup, decay], [config.warmup_steps])


def decay_mask(params: Any) -> Any:
  """True for matrices (kernels and embeddings), False for biases and norm scales, whatever their rank.

  A scale that decays to 0 switches its feature off; a matrix only comes to prefer small weights. By name, not by
  rank: a bias may keep its heads apart, and stacked layers add an axis to every array.
  """
  is_matrix = lambda path, _: path_string(path).rsplit('/', 1)[-1] not in ('bias', 'scale')
  return jax.tree_util.tree_map_with_path(is_matrix, params)


def is_table(path: str) -> bool:
  """Whether a parameter is an embedding table: those are called *_table, or lie in a list called *_tables."""
  parts = path.split('/')
  return parts[-1].endswith('_table') or (len(parts) > 1 and parts[-2].endswith('_tables'))


def _mean_square(table: jax.Array) -> jax.Array:
  """[rows, 1] mean square of each row. As a product with a column: on a CPU a reduction of rows takes twice as long."""
  squares = jnp.square(table.astype(jnp.float32)).reshape(len(table), -1)
  return jnp.matmul(squares, jnp.full((squares.shape[1], 1), 1 / squares.shape[1]), precision='highest')


def scale_by_rowwise_adagrad(epsilon: float = 1e-8) -> optax.GradientTransformation:
  """Adagrad with one accumulator a row, of the mean squared gradient (DLRM; Gupta et al. 2014; Mudigere et al. 2022,
  arXiv:2104.05158, section 4.1.4): a table of N x D needs N numbers of state where Adam needs 2 N D.

  A row without a gradient does not move.
  """

  def init(params):
    return jax.tree.map(lambda p: jnp.zeros(p.shape[:1] + (1,) * (p.ndim - 1), jnp.float32), params)

  def update(updates, state, params=None):
    del params
    state = jax.tree.map(lambda s, g: s + _mean_square(g).reshape(s.shape), state, updates)
    return jax.tree.map(lambda g, s: g * jax.lax.rsqrt(s + epsilon), updates, state), state

  return optax.GradientTransformation(init, update)


def rowwise_adagrad(schedule: optax.Schedule, config: OptimizerConfig) -> optax.GradientTransformation:
  """Row-wise Adagrad on tables at config.table_learning_rate, AdamW on the rest; both follow the schedule."""
  # Tables apart: their rows have few gradients each, and Adam would move a row by its old momentum without any.
  label = lambda path, _: 'table' if is_table(path_string(path)) else 'rest'
  table_rate = lambda count: schedule(count) * (config.table_learning_rate / config.learning_rate)
  return optax.partition(
    {
      'table': optax.chain(scale_by_rowwise_adagrad(config.epsilon), optax.scale_by_learning_rate(table_rate)),
      'rest': optax.adamw(
        schedule, config.beta1, config.beta2, config.epsilon, weight_decay=config.weight_decay, mask=decay_mask
      ),
    },
    lambda params: jax.tree_util.tree_map_with_path(label, params),
  )


def muon_with_adam(schedule: optax.Schedule, config: OptimizerConfig) -> optax.GradientTransformation:
  """Muon on the kernels of linear layers, Adam on embeddings, head and scalars at rates of their own.

  Orthogonal steps would move the rows of all tokens alike, rare ones too; and of a vector they are its direction.
  """

  def label(path, _):
    name = path_string(path)
    last = name.rsplit('/', 1)[-1]
    if muon.is_matrix(name):
      return 'matrix'
    return 'scalar' if last in ('bias', 'scale') else 'head' if last == 'head' else 'embedding'

  def adam(peak: float) -> optax.GradientTransformation:
    rate = lambda count: schedule(count) * (peak / config.learning_rate)
    return optax.adam(rate, config.beta1, config.beta2, config.epsilon)

  return optax.partition(
    {
      'matrix': optax.chain(
        muon.scale_by_muon(config.momentum),
        optax.add_decayed_weights(config.weight_decay),
        optax.scale_by_learning_rate(schedule),
      ),
      'embedding': adam(config.embedding_learning_rate),
      'head': adam(config.head_learning_rate),
      'scalar': adam(config.scalar_learning_rate),
    },
    lambda params: jax.tree_util.tree_map_with_path(label, params),
  )


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
  """Clipping by global norm, then the named optimiser (AdamW: Loshchilov & Hutter 2019, arXiv:1711.05101).

  Raises:
    UserError: an unknown name or schedule.
  """
  schedule = learning_rate_schedule(config, steps)
  if config.name == 'adamw':
    update = optax.adamw(
      schedule, config.beta1, config.beta2, config.epsilon, weight_decay=config.weight_decay, mask=decay_mask
    )
  elif config.name == 'adam':
    update = optax.adam(schedule, config.beta1, config.beta2, config.epsilon)
  elif config.name == 'sgd':
    update = optax.sgd(schedule, momentum=config.beta1 or None)
  elif config.name == 'muon':
    update = muon_with_adam(schedule, config)
  elif config.name == 'rowwise_adagrad':
    update = rowwise_adagrad(schedule, config)
  else:
    raise UserError(f'optimizer.name={config.name!r} is not one of {", ".join(OPTIMIZERS)}')
  # Clipped first: after Adam's division by the size of the gradients nothing large would be left to clip.
  return optax.chain(optax.clip_by_global_norm(config.clip_norm), update) if config.clip_norm else update
