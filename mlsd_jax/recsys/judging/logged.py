"""What a server logged, as decisions that off-policy estimates go by: one decision a place that was shown.

A decision's actions are all items that were ever shown or could have been. What stands at a place was drawn given what
stands before it, and its propensity is the probability of that draw; the value estimated is that of a place.
"""

import dataclasses
import pathlib

import numpy as np
import polars as pl

from mlsd_jax import sealed
from mlsd_jax.errors import UserError

WINDOW = 7 * 86_400  # seconds after an answer in which what it showed may be bought


@dataclasses.dataclass(frozen=True)
class Logged:
  """N decisions over A actions, for off_policy's estimates.

  Attributes:
    actions: [A] ids of items.
    action: [N] what was shown; reward: [N] 1 where it was bought within WINDOW, else 0.
    propensity: [N] with which probability it was shown.
    greedy: [N] the action without exploration, -1 if there was none.
    pool: [N, A] bool, what exploration could have shown.
  """

  actions: list[str]
  action: np.ndarray
  reward: np.ndarray
  propensity: np.ndarray
  greedy: np.ndarray
  pool: np.ndarray

  def policy(self, explore: float) -> np.ndarray:
    """[N, A] probabilities of the policy that explores with this probability instead."""
    sizes = self.pool.sum(1)
    share = np.where(self.greedy < 0, 1.0, np.where(sizes > 0, explore, 0.0))
    out = self.pool * (share / np.maximum(sizes, 1))[:, None]
    rows = np.flatnonzero(self.greedy >= 0)
    out[rows, self.greedy[rows]] += 1 - share[rows]
    return out


def read(folder: pathlib.Path, purchases: pl.DataFrame) -> Logged:
  """The places of a log that exploration could give away.

  Args:
    folder: answers/ of a recommender.
    purchases: user, item (ids) and time (seconds), and perhaps answer: the id of the answer that it followed, '' if
      that is not known.

  Raises:
    UserError: nothing was logged there, or a part is damaged.
  """
  parts = sorted(folder.glob('part-*.parquet'))
  if not parts:
    raise UserError(f'{folder} holds no logged answers')
  for part in parts:
    sealed.check_file(part)
  answers = pl.read_parquet(parts)
  places = (
    answers.with_columns(before=pl.col('items'))
    .explode('items', 'probability', 'propensity', 'greedy', 'open')
    .with_columns(place=pl.int_range(pl.len()).over('answer'))
    .filter(pl.col('open'))
    .with_columns(before=pl.col('before').list.head(pl.col('place')))
    .with_columns(pool=pl.col('pool').list.set_difference('before'))
  )
  bought = purchases.select('user', 'item', bought='time')
  joined = places.join(bought, left_on=['user', 'items'], right_on=['user', 'item'], how='left')
  late = pl.col('bought') - pl.col('time')
  in_time = (late >= 0) & (late <= WINDOW)
  reward = joined.group_by('answer', 'place').agg(in_time.any().alias('reward'))
  places = places.join(reward, on=['answer', 'place'], how='left', maintain_order='left')
  actions = sorted({*places['items'], *places['greedy'], *places['pool'].explode().drop_nulls()} - {''})
  code = {id_: number for number, id_ in enumerate(actions)}
  pool = np.zeros((places.height, len(actions)), bool)
  for row, ids in enumerate(places['pool'].to_list()):
    pool[row, [code[id_] for id_ in ids]] = True
  return Logged(
    actions,
    np.array([code[id_] for id_ in places['items']]),
    places['reward'].fill_null(False).to_numpy().astype(float),
    places['propensity'].to_numpy().astype(float),
    np.array([code.get(id_, -1) for id_ in places['greedy']]),
    pool,
  )
