"""The trained ranker: what it sees of candidates, and its logits at the natural rate.

Names: N candidates, U users, F dense features.
"""

import copy
import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.models import sparsenn
from mlsd_jax.models.sparsenn import HEADS, SparseNNConfig
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.stages.candidates import Candidates

_apply = jax.jit(sparsenn.apply, static_argnames='config')

_ROWS = 1 << 11  # scored at once: what they become fits a core's cache, and three times as many a second go through


@dataclasses.dataclass(frozen=True)
class RankerInputs:
  """What the ranker sees of N candidates of U users.

  Attributes:
    dense: [N, F] float32, see features.dense_names.
    item: [N] int32, rows of the item table (item + 1).
    row: [N] which of the U users each is of.
    user_codes: [U, columns] int32.
    bags: [U, L] int32 rows of the item table of each user's latest items, 0 where there is none; the latest last.
    open_log: [N] added to the logits of a purchase, see `open_log`.
  """

  dense: np.ndarray
  item: np.ndarray
  row: np.ndarray
  user_codes: np.ndarray
  bags: np.ndarray
  open_log: np.ndarray

  def __post_init__(self):
    chex.assert_equal_shape_prefix([self.dense, self.item, self.row, self.open_log], 1)
    chex.assert_equal_shape_prefix([self.user_codes, self.bags], 1)

  def take(self, rows: np.ndarray) -> 'RankerInputs':
    """Those of some candidates, of the same users."""
    parts = {name: getattr(self, name)[rows] for name in ('dense', 'item', 'row', 'open_log')}
    return dataclasses.replace(self, **parts)


def open_log(snapshot: Snapshot, users: np.ndarray) -> np.ndarray:
  """[len(users)] what is added to log-odds of a purchase in a week on some days of which the shop is closed.

  Who shops at all in a week makes r / (1 - exp(-r)) trips in it if trips are Poisson of rate r (that of a distribution
  without its zero); of r only the share of open days is left.
  """
  if snapshot.open_share == 1.0:
    return np.zeros(len(users), np.float32)
  rate = np.maximum(snapshot.column('user', 'days30')[users] * 7 / 30, 1e-3)
  trips = lambda r: r / -np.expm1(-r)
  return np.log(trips(rate * max(snapshot.open_share, 1e-3)) / trips(rate)).astype(np.float32)


class Scorer:
  """A trained ranker on fixed tables.

  Attributes:
    codes: [num_items + 1, C] of the item table's rows.
    user_codes: [num_users + 1, columns]; the last row is of a user nobody knows.
    edges: [F, bins + 1] bounds of the dense features' buckets.
  """

  def __init__(self, params: Any, config: SparseNNConfig, codes: np.ndarray, user_codes: np.ndarray, edges: np.ndarray):
    self.params, self.config, self.codes, self.user_codes, self.edges = params, config, codes, user_codes, edges
    self._tables = jnp.asarray(codes), jnp.asarray(edges)

  def with_users(self, user_codes: np.ndarray) -> 'Scorer':
    """The same ranker for other users."""
    other = copy.copy(self)
    other.user_codes = user_codes
    return other

  def calibrated(self, slope: float, shift: float) -> 'Scorer':
    """The same ranker with slope * logit + shift as the logit of a purchase; folded into the last layer."""
    out = self.params['out']
    kernel, bias = np.array(out['kernel']), np.array(out['bias'])
    kernel[:, 0] *= slope
    bias[0] = slope * bias[0] + shift
    params = self.params | {'out': out | {'kernel': kernel, 'bias': bias}}
    return Scorer(params, self.config, self.codes, self.user_codes, self.edges)

  def inputs(self, snapshot: Snapshot, candidates: Candidates, dense: np.ndarray) -> RankerInputs:
    """What it sees of candidates: `dense` [N, F] with what belongs to their users."""
    return ranker_inputs(snapshot, candidates, dense, self.user_codes, self.config.bag_length)

  def __call__(self, inputs: RankerInputs) -> np.ndarray:
    """Logits [N, heads], at the natural rate, for a week with as many open days as it has."""
    parts = []
    for first in range(0, len(inputs.item), _ROWS):
      part = slice(first, first + _ROWS)
      user = inputs.row[part]
      # Few shapes, each compiled once: powers of two, from what one request has up.
      padded = max(128, 1 << (len(user) - 1).bit_length())
      rows = {
        'dense': inputs.dense[part],
        'item': inputs.item[part],
        'user_codes': inputs.user_codes[user],
        'bag': inputs.bags[user],
      }
      rows = {name: np.pad(x, ((0, padded - len(user)), *[(0, 0)] * (x.ndim - 1))) for name, x in rows.items()}
      parts.append(np.asarray(_apply(self.params, rows, *self._tables, self.config))[: len(user)])
    logits = np.concatenate(parts) if parts else np.zeros((0, len(HEADS)), np.float32)
    logits[:, 0] += inputs.open_log
    return logits


def ranker_inputs(
  snapshot: Snapshot, candidates: Candidates, dense: np.ndarray, user_codes: np.ndarray, bag_length: int
) -> RankerInputs:
  """What a ranker sees of candidates at the snapshot's cut.

  Args:
    dense: [N, F] of the candidates.
    user_codes: [num_users + 1, columns].
    bag_length: latest items of each user, at least one.
  """
  users = candidates.users
  bags = (snapshot['recent'][users, : max(bag_length, 1)] + 1)[:, ::-1].astype(np.int32)
  closed = open_log(snapshot, candidates.user)
  return RankerInputs(dense, candidates.item + 1, candidates.row, user_codes[users], bags, closed)
