"""Training the two towers by sampled softmax. (tower_vectors.py: what they are asked for afterwards.)"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize

from mlsd_jax.models import adapter, two_tower
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.purchases.weeks import Targets
from mlsd_jax.recsys.stages.tower_data import TowerData
from mlsd_jax.recsys.stages.tower_vectors import apply_user_tower, compute_item_vectors, compute_user_vectors
from mlsd_jax.training.sharding import Rules
from mlsd_jax.training.task import Task, average_loss, first_row, gather_rows

# Rows of the big tables are split over the mesh; an id's row then lives on one device.
TOWER_RULES: Rules = (('(item|code|user)_tables?(/[0-9]+)?$', ('rows', None)), ('item_bias$', ('rows', None)))
_STRENGTHS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0, 11.0, 16.0, 22.0)  # of factors, that a boost may make of theirs
_ENOUGH, _ASKED = 10_000, (512, 2048)  # purchases by which they are chosen, by so many users at least and at most


def tower_task(
  config: TwoTowerConfig, data: TowerData, *, batch_size: int, log_q: bool = True, uniform_negatives: bool = True
) -> Task:
  """In-batch sampled softmax; the items of the other rows are the negatives, and one uniform item a row joins them.

  Args:
    log_q: subtract from each logit the logarithm of how often its item is expected among the negatives, without which
      popular items are pushed down (Yi et al. 2019, eq. 3).
    uniform_negatives: mixed negative sampling (Yang et al. 2020), so that items that are never bought are seen too.
  """
  known, num_items = data.items, len(data.codes) - 1
  names = ('item', 'negative') if uniform_negatives else ('item',)

  def ids_of(batch):
    """The rows of the tables that a batch looks up: of its items, of its histories, of its users."""
    pool_N = jnp.concatenate([batch[name] for name in names])
    return (
      two_tower.item_ids(pool_N, known.codes_IC, config),
      two_tower.history_ids(batch['history'], known.codes_IC, config),
      two_tower.user_ids(batch['user_codes'], config),
    )

  def lookups(batch):
    parts = ids_of(batch)
    paths = dict.fromkeys(path for part in parts for path in part)
    return {path: jnp.concatenate([part[path].reshape(-1) for part in parts if path in part]) for path in paths}

  def places_of(batch):
    """As `ids_of`, of tables that hold what `lookups` names, in its order."""
    taken: dict[str, int] = {}
    found = []
    for part in ids_of(batch):
      places = {}
      for path, ids in part.items():
        start = taken.get(path, 0)
        places[path] = start + jnp.arange(ids.size).reshape(ids.shape)
        taken[path] = start + ids.size
      found.append(places)
    return found

  def metrics_of(params, batch, axis_name=()):
    # Each device's items are negatives for the users of all: log-Q counts on how often an item is in the whole batch.
    gather = lambda x: jnp.concatenate([gather_rows(part, axis_name) for part in jnp.split(x, len(names))])
    pool_N, known_NK = (jnp.concatenate([batch[name + what] for name in names]) for what in ('', '_known'))
    factors_NK, popularity_N, share_N = known_NK[:, :-2], known_NK[:, -2], known_NK[:, -1]
    items, histories, users = places_of(batch)
    given = batch['history'], batch['ages'], batch['factors']
    users_BD = two_tower.user_vectors_of_ids(params, *given, histories, users, config)
    items_ND = two_tower.item_vectors_of_ids(params, items, factors_NK, popularity_N, config)
    if axis_name:
      pool_N, share_N, items_ND = map(gather, (pool_N, share_N, items_ND))
    logits_BN = (users_BD @ items_ND.T).astype(jnp.float32)
    if log_q:
      # What sells much is a negative in many batches, for its popularity and not for a bad fit: the softmax over the
      # sample is that over all items only if the logarithm of how often each is drawn is taken off.
      expected_N = batch_size * (share_N + uniform_negatives / num_items)
      logits_BN = logits_BN - jnp.log(jnp.maximum(expected_N, 1e-9))[None]
    # Negatives cost nothing more, as the items of the other rows have their vectors already. What the row's own user
    # bought, and its own item in another row, are no negatives.
    size = len(batch['item'])
    first = first_row(size, axis_name)
    own_BN = first + jnp.arange(size)[:, None] == jnp.arange(len(pool_N))[None]
    same_item_BN = batch['item'][:, None] == pool_N[None]
    same_user_BB = batch['user'][:, None] == gather_rows(batch['user'], axis_name)[None]
    same_user_BN = jnp.pad(same_user_BB, ((0, 0), (0, len(pool_N) - same_user_BB.shape[1])))
    logits_BN = jnp.where((same_item_BN | same_user_BN) & ~own_BN, -1e9, logits_BN)
    own_B = jnp.diagonal(jax.lax.dynamic_slice_in_dim(logits_BN, first, size, axis=1))
    nll_B = jax.nn.logsumexp(logits_BN, -1) - own_B
    return {'loss': (nll_B.sum(), jnp.float32(size))}

  def evaluate(params, batch):
    """Nats of a purchase under the softmax over all items, and the share of purchases among the best 1,000."""
    users_BD = apply_user_tower(params, batch, known.codes_IC, config)
    items_ID = two_tower.item_vectors(params, jnp.arange(1, num_items + 1), known, config)
    logits_BI = users_BD @ items_ID.T
    asked_BP = jnp.clip(batch['positives'] - 1, 0)
    weights_B = batch['weights']
    weights_BP = (batch['positives'] > 0) * weights_B[:, None]
    own_BP = jnp.take_along_axis(logits_BI, asked_BP, 1)
    last_B = jax.lax.top_k(logits_BI, min(1000, logits_BI.shape[1]))[0][:, -1]
    found_B = ((own_BP >= last_B[:, None]) * weights_BP).sum(1) / jnp.maximum(weights_BP.sum(1), 1)
    nll_BP = jax.nn.logsumexp(logits_BI, 1)[:, None] - own_BP
    return {
      'loss': ((nll_BP * weights_BP).sum(), weights_BP.sum()),
      'recall@1000': (found_B @ weights_B, weights_B.sum()),
    }

  def loss(params, batch, key, axis_name=()):
    del key
    return average_loss(metrics_of(params, batch, axis_name))

  return Task(
    init=lambda key: two_tower.init(key, config),
    loss=loss,
    evaluate=evaluate,
    lookups=lookups,
    whole_batch=True,
    sharding_rules=TOWER_RULES,
    items_per_batch=batch_size,
    item_name='examples',
  )


def loss_of_tables(task: Task, params: Any, batch: Any) -> jax.Array:
  """The task's loss of parameters with whole tables."""
  assert task.lookups is not None
  return task.loss(adapter.look_up(params, task.lookups(batch)), batch, None)[0]


def fit_wide_weights(task: Task, params: Any, batch: dict[str, np.ndarray]) -> Any:
  """The parameters with those weights of factors and popularity that make a batch likeliest, all else as it is.

  An optimiser's steps are too small to come there in time where they begin or end up far off (factors that are newer
  than those of training may cost tens of nats): until then the deep part would learn to undo them. In the two weights
  the loss is convex.
  """

  def loss(weights, params, batch):
    return loss_of_tables(task, _weighed(params, weights), batch)

  slope, (params_on_device, batch_on_device) = jax.jit(jax.value_and_grad(loss)), jax.device_put((params, batch))
  numbers = lambda weights: [
    np.asarray(x, np.float64) for x in slope(weights.astype(np.float32), params_on_device, batch_on_device)
  ]
  start = np.array([np.exp(params['factor_strength']), params['popularity_weight']], np.float64)
  solution = scipy.optimize.minimize(numbers, start, jac=True, method='L-BFGS-B', bounds=((0.01, 20.0), (0.0, 3.0)))
  return jax.device_get(_weighed(params, solution.x.astype(np.float32)))


def _weighed(params: Any, weights: Any) -> Any:
  """Parameters with weights [2] of factors and of popularity."""
  return params | {'factor_strength': jnp.log(weights[0]), 'popularity_weight': weights[1]}


def make_model_config(data: TowerData, settings: dict[str, Any]) -> TwoTowerConfig:
  """The model of a data set, with what the settings say of its size."""
  sizes = lambda codes: tuple(int(column.max()) + 1 for column in codes.T)
  described = {
    'num_items': len(data.codes) - 1,
    'code_sizes': sizes(data.codes),
    'user_sizes': sizes(data.user_codes),
    'factor_dim': data.factors.table.shape[1],
  }
  return TwoTowerConfig(**settings, **described)


def choose_factor_boost(
  params: Any, data: TowerData, config: TwoTowerConfig, targets: Targets, k: int, usual: float | None = None
) -> float:
  """What the weight of the factors is to be multiplied by, so that most of a week's purchases are among the best `k`.

  Of the week some users are asked, more where each of them buys little.

  Likelihood weighs factors as if each nat of them were as good as any other; whether a purchase comes back hangs little
  on how often there was one, so that for the first 1,000 they deserve more.

  Args:
    usual: weight that earlier towers had: it stays unless another finds more by over two standard errors, as whoever
      learnt from the earlier ones' scores would misread those of another weight.
  """
  users = targets.users
  enough = int(np.clip(_ENOUGH * len(users) / len(targets.user), *_ASKED))
  sample = np.sort(np.random.default_rng(0).permutation(users)[:enough])
  vectors, items = (
    compute_user_vectors(params, data, config, data.histories, sample, targets.cut),
    compute_item_vectors(params, data, config),
  )
  wide = slice(config.embed_dim, config.embed_dim + config.factor_dim)
  own = float(np.exp(params['factor_strength']))
  boosts = [1.0, *(x / own for x in _STRENGTHS if x > own)]
  if usual is not None:
    boosts = [usual / own, *boosts]
  recalls = np.zeros((len(boosts), len(sample)))
  for first in range(0, len(sample), 128):
    part, rows = sample[first : first + 128], slice(first, first + 128)
    factors = vectors[rows, wide] @ items[:, wide].T
    scores = vectors[rows] @ items.T - factors
    mine = np.isin(targets.user, part)
    row, item = np.searchsorted(part, targets.user[mine]), targets.item[mine]
    for place, boost in enumerate(boosts):
      boosted = scores + boost * factors
      last = np.partition(boosted, -k, 1)[:, -k]
      hits = np.bincount(row, boosted[row, item] >= last[row], minlength=len(part))
      recalls[place, rows] = hits / np.maximum(np.bincount(row, minlength=len(part)), 1)
  best = int(recalls.mean(1).argmax())
  if usual is not None:
    gain = recalls[best] - recalls[0]
    best = best if gain.mean() > 2 * gain.std() / np.sqrt(len(gain)) else 0
  return float(boosts[best])


def factor_weight(params: Any, config: TwoTowerConfig) -> float:
  """What the factors of towers count, their boost included."""
  return config.factor_boost * float(np.exp(params['factor_strength']))
