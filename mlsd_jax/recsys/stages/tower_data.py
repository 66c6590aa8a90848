"""What the towers know of items and users: codes of their attributes, factors and histories."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.models import two_tower
from mlsd_jax.recsys.purchases.events import Dataset, vocabulary
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages.factors import Factors

MIN_COUNT, BUCKETS = 5, 16  # items of a value with a code of its own; codes of rarer ones


@dataclasses.dataclass(frozen=True)
class TowerData:
  """What the model knows of items and users.

  Attributes:
    histories: of all events (only what lies before an example's cut is read).
    codes: [num_items + 1, C] int32 columns of the item table's rows.
    user_codes: [U, number of user columns] int32.
    factors: of what was bought before some cut.
  """

  histories: Histories
  codes: np.ndarray
  user_codes: np.ndarray
  factors: Factors

  @functools.cached_property
  def items(self) -> two_tower.Items:
    """What the item tower is given."""
    known = (self.codes, self.factors.table, self.factors.popularity)
    with jax.ensure_compile_time_eval():  # arrays, even if asked for first while something is traced
      return two_tower.Items(*map(jnp.asarray, known))

  def users(self, histories: Histories, users: np.ndarray, cuts: np.ndarray, length: int) -> dict[str, np.ndarray]:
    """What the user tower is given of users at cuts: history, ages, factors, user_codes."""
    return histories.at(users, cuts, length) | {
      'factors': self.factors.of_users(histories, users, cuts),
      'user_codes': self.user_codes[users],
    }


def code_items(dataset: Dataset, min_count: int = MIN_COUNT, buckets: int = BUCKETS) -> np.ndarray:
  """[num_items + 1, C] codes of categories and attributes, rare ones hashed; row 0, of no item, is all zero."""
  columns = [
    vocabulary(dataset.items[name], min_count=min_count, buckets=buckets)[0]
    for name in (*dataset.categories, *dataset.attributes)
  ]
  codes = np.stack(columns, 1) if columns else np.zeros((dataset.num_items, 0), np.int32)
  return np.concatenate([np.zeros((1, codes.shape[1]), np.int32), codes])


def code_users(dataset: Dataset) -> np.ndarray:
  """[U + 1, number of columns] codes of the users' attributes; the last row is of a user nobody knows."""
  columns = [vocabulary(dataset.users[name])[0] for name in dataset.user_attributes]
  codes = np.stack(columns, 1) if columns else np.zeros((dataset.num_users, 0), np.int32)
  return np.concatenate([codes, np.zeros((1, codes.shape[1]), np.int32)])
