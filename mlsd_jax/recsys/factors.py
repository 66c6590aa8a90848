"""Where the towers' item table starts: a truncated SVD of who bought what (PureSVD; Cremonesi et al. 2010).

Purchases lose half their weight in HALF days and count by their logarithm; frequent items and busy users are damped;
each direction is shrunk as ridge regression would, so that the weakest kept counts half. The dot product of an item's
row with the sum of a user's rows is then already a fair guess of what the user takes next, and training starts there
rather than from noise.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from scipy.sparse import linalg

from mlsd_jax.models import two_tower
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.tower_examples import Histories, TowerData

HALF = 120.0  # days
_ITEM_POWER, _USER_POWER = 0.3, 0.5  # of the lengths that columns and rows are divided by
_RARE = 5.0  # purchases: what has fewer has a bias as if it had so many, and lives on its columns
_LONGEST = 3.0  # row: between a fan's vector and an item's lie a few nats


def item_factors(histories: Histories, num_items: int, dim: int) -> np.ndarray:
  """[num_items + 1, dim] float32 rows of the item table, the longest of length 1; zero for what nobody bought.

  Directions past the rank of the purchases are zero.
  """
  users = len(histories.start) - 1
  of = np.repeat(np.arange(users), np.diff(histories.start))
  age = (histories.day.max() if len(histories.day) else 0.0) - histories.day
  counts = sp.csr_matrix((0.5 ** (age / HALF), (of, histories.item)), (users, num_items + 1))
  counts.data = np.log1p(3 * counts.data)
  columns = np.sqrt(np.asarray(counts.power(2).sum(0)).ravel() + 1)
  scaled = counts @ sp.diags(columns**-_ITEM_POWER)
  rows = np.sqrt(np.asarray(scaled.power(2).sum(1)).ravel())
  scaled = sp.diags(np.maximum(rows, 1e-6) ** -_USER_POWER) @ scaled
  rank = min(dim, min(scaled.shape) - 1)
  _, values, directions = linalg.svds(scaled.astype(np.float32), k=rank, rng=np.random.default_rng(0))
  values = values[::-1]
  shrunk = values**2 / np.maximum(values**2 + values[-1] ** 2, 1e-12)
  factors = np.zeros((num_items + 1, dim), np.float32)
  factors[:, :rank] = directions[::-1].T * np.sqrt(shrunk)
  return factors / max(float(np.sqrt(np.square(factors).sum(1).max())), 1e-6)


def start(key: jax.Array, config: TwoTowerConfig, data: TowerData) -> two_tower.adapter.Params:
  """Parameters to start training from: factors for the item table, popularity for the biases, decay for the ages."""
  params = two_tower.init(key, config)
  table = _LONGEST * item_factors(data.histories, config.num_items, config.embed_dim)
  share = np.log(np.maximum(data.share, _RARE / max(len(data.item), 1)))
  # Behind frequent items stands their own popularity, not all of it: factors have a part of it too.
  bias = 0.75 * (share - share.max())
  days = 2.0 ** (np.arange(two_tower.AGES) / 2) - 1
  decay = np.tile(-days * (np.log(2) / HALF), (2, 1))
  start_of = {'item_table': table, 'item_bias': bias[:, None], 'age_weight': decay}
  new = params | {name: jnp.asarray(x, jnp.float32) for name, x in start_of.items()}
  if 'code_tables' in params:  # what the columns say is learnt on top of the factors
    new['code_tables'] = jax.tree.map(lambda x: 0.5 * x, params['code_tables'])
  return new
