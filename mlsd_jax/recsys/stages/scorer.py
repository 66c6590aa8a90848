"""The trained ranker: what it sees of candidates, and its logits at the natural rate.

Names: N candidates, U users, F dense features.
"""

import copy
import dataclasses
from collections.abc import Iterator
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
_LEAST = 64  # of them in a batch
_WASTE = 1.5  # times the candidates that a batch may hold, filled up


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

  def with_items(self, codes: np.ndarray) -> 'Scorer':
    """The same ranker for the items of `codes`; who is new has the embedding of no item beside those of its columns."""
    params, config, more = self.params, self.config, len(codes) - 1 - self.config.num_items
    if more > 0:
      if config.sparse:
        table = np.asarray(params['item_table'])[: config.num_items + 1]  # without the rows that fill it up
        params = params | {'item_table': jax.device_put(np.concatenate([table, np.repeat(table[:1], more, axis=0)]))}
      config = dataclasses.replace(config, num_items=len(codes) - 1)
    return Scorer(params, config, codes, self.user_codes, self.edges)

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

  def __call__(self, inputs: RankerInputs, width: int = 0) -> np.ndarray:
    """Logits [N, heads], at the natural rate, for a week with as many open days as it has.

    Args:
      width: candidates that most users have, whose shape is compiled; 0 where nothing is known of that.
    """
    logits = np.zeros((len(inputs.item), len(HEADS)), np.float32)
    for rows, slots, users, of_each in _shapes(inputs.row, width):
      # Each user's candidates one under the other, filled up to `of_each`: a bag is then looked up once a user.
      size = len(users) * of_each
      batch = {
        'dense': _spread(inputs.dense[rows], slots, size),
        'item': _spread(inputs.item[rows], slots, size),
        'user_codes': inputs.user_codes[users],
        'bag': inputs.bags[users],
      }
      logits[rows] = np.asarray(_apply(self.params, batch, *self._tables, self.config))[slots]
    logits[:, 0] += inputs.open_log
    return logits


def _shapes(row: np.ndarray, width: int) -> Iterator[tuple[slice, np.ndarray, np.ndarray, int]]:
  """How N candidates of users `row` [N], which ascend, are laid out in few shapes, each of which is compiled once.

  Yields:
    (candidates, their places [n] in a batch, users [U] of the batch, its candidates a user)
  """
  begins = np.flatnonzero(np.diff(row, prepend=-1))
  sizes = np.diff(begins, append=len(row))
  most = int(sizes.max(initial=1))
  of_each = width
  while of_each // 2 >= max(most, _LEAST):
    of_each //= 2
  if of_each < most:
    of_each = max(_LEAST, 1 << (most - 1).bit_length())
  if len(sizes) > 1 and _WASTE * len(row) < len(sizes) * of_each:  # so few of each that every row has a user of its own
    begins, sizes, of_each = np.arange(len(row)), np.ones(len(row), np.int64), 1
  at_once = max(1, 1 << max(_ROWS // of_each, 1).bit_length() - 1)
  for first in range(0, len(begins), at_once):
    last = min(first + at_once, len(begins))
    rows = slice(int(begins[first]), int(begins[last]) if last < len(begins) else len(row))
    place = np.arange(rows.start, rows.stop) - np.repeat(begins[first:last], sizes[first:last])
    slots = np.repeat(np.arange(last - first) * of_each, sizes[first:last]) + place
    users = row[begins[first:last]]
    padded = min(at_once, max(_LEAST if of_each == 1 else 1, 1 << (len(users) - 1).bit_length()))
    yield rows, slots, np.resize(users, padded), of_each


def _spread(values: np.ndarray, slots: np.ndarray, size: int) -> np.ndarray:
  """[size, ...] with `values` at `slots`, zeros elsewhere."""
  if len(values) == size:  # slots ascend, and all are taken
    return values
  out = np.zeros((size, *values.shape[1:]), values.dtype)
  out[slots] = values
  return out


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
