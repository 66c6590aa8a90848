"""What became of candidates in the week after their cut."""

import dataclasses

import numpy as np

from mlsd_jax.recsys.purchases.weeks import Targets
from mlsd_jax.recsys.stages.candidates import Candidates

SOON = 3.0  # days


@dataclasses.dataclass(frozen=True)
class Labels:
  """What became of N candidates: bought [N] bool, soon [N] bool, quantity [N] float32 (0 if not bought)."""

  bought: np.ndarray
  soon: np.ndarray
  quantity: np.ndarray


def label(candidates: Candidates, targets: Targets, num_items: int) -> Labels:
  """Labels of candidates from what was bought in the week."""
  keys = targets.user.astype(np.int64) * num_items + targets.item
  candidate_keys = candidates.user.astype(np.int64) * num_items + candidates.item
  place = np.minimum(np.searchsorted(keys, candidate_keys), max(len(keys) - 1, 0))
  bought = keys[place] == candidate_keys if len(keys) else np.zeros(len(candidate_keys), bool)
  where_bought = lambda values: np.where(bought, values[place], 0.0) if len(keys) else np.zeros(len(bought))
  soon = bought & (where_bought(targets.days) <= SOON)
  return Labels(bought, soon, where_bought(targets.quantity).astype(np.float32))


def recall(candidates: Candidates, targets: Targets, num_items: int) -> np.ndarray:
  """[U] what share of each user's purchases is among its candidates; every user bought something."""
  bought = label(candidates, targets, num_items).bought
  hits = np.bincount(candidates.row, bought, minlength=len(candidates.users))
  return hits / np.bincount(np.searchsorted(candidates.users, targets.user), minlength=len(candidates.users))
