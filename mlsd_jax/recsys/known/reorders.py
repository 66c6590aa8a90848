"""How often what was bought comes back within a week: of each item, user and category, over the latest weeks.

A pair of user and item is at risk in a week if it was bought in the BEFORE weeks before that week; it came back if it
was bought in that week too. Rates are shrunk towards that of everything, as those of few pairs are chance, and are
in tenths of it: how much comes back in all grows with what was bought so far and with the season, and would give
away to a ranker which of its weeks it looks at.

Names: U users, I items, C codes of a category.
"""

import numpy as np
import polars as pl

from mlsd_jax.recsys.known.grouped import contains, distinct

BEFORE = 13  # weeks
LATEST = 4  # weeks over which rates are taken; 'now' is the last of them alone
_PRIOR = 20.0  # pairs of the usual rate that every rate is mixed with


def reorders(history: pl.DataFrame, codes: np.ndarray, num_users: int, num_items: int) -> dict[str, np.ndarray]:
  """How often pairs came back in a week, in tenths of the usual rate.

  Args:
    history: events before the cut with their age in days.
    codes: [levels, I] categories.

  Returns:
    reorder_item [I, 2] of LATEST weeks and of the last, reorder_user [num_users], reorder_LEVEL [C].
  """
  recent = history.filter(pl.col('age') < 7 * (BEFORE + LATEST))
  week = (recent['age'] // 7).cast(pl.Int64).to_numpy()
  pair = recent['user'].to_numpy().astype(np.int64) * num_items + recent['item'].to_numpy()
  risks, backs = [], []
  for latest in range(LATEST):
    risk, bought = distinct(pair[(week > latest) & (week <= latest + BEFORE)]), distinct(pair[week == latest])
    risks.append(risk)
    backs.append(contains(bought, risk))
  risk, back = np.concatenate(risks), np.concatenate(backs)

  def rate(owner: np.ndarray, came_back: np.ndarray, number: int) -> np.ndarray:
    usual = came_back.mean() if came_back.any() else 1.0
    counts, returned = np.bincount(owner, minlength=number), np.bincount(owner, came_back, minlength=number)
    return (10 * (returned / usual + _PRIOR) / (counts + _PRIOR)).astype(np.float32)

  items = [rate(risk % num_items, back, num_items), rate(risks[0] % num_items, backs[0], num_items)]
  rates = {'reorder_item': np.stack(items, 1), 'reorder_user': rate(risk // num_items, back, num_users)}
  for level, coded in enumerate(codes):
    rates[f'reorder_{level}'] = rate(coded[risk % num_items], back, int(coded.max()) + 1)
  return rates
