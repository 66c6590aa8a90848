"""The light first stage: orders the union of the sources by a logistic regression on what they said, keeps the best."""

import dataclasses
import functools

import numpy as np
from scipy.linalg import blas

from mlsd_jax.recsys.known.snapshot import AFFINITY, PAIR, Snapshot, missing_row
from mlsd_jax.recsys.stages import row_blocks
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.features import bucket_bounds, look_up_promotions

_BINS = 10
_RIDGE = 32.0  # on each weight but the constant, however many rows: it is what a shop with few purchases needs most
_CONSTANT_RIDGE = 0.01  # hardly any: where no candidate was bought the constant would go on for ever
_STILL = 0.01  # a step of Newton's method that moves no weight farther is its last: the next would be some 1e-4
_MANY, _PART = 65_536, 8  # rows; of so many, Newton's method comes near the end on every so many-th
_ROWS = 4096  # at once
_HALVINGS = 10  # of a step that raises the loss
_LEVELS = 2  # of the categories, the finest
_OF_PAIR = (
  *('n7', 'n30', 'n180', 'weeks12', 'decayed', 'slow', 'since', 'days'),
  *('trips10', 'trips_since', 'trips'),
)
_OF_CATEGORY = ('n30', 'decayed', 'since')
_OF_ITEM = ('n7', 'n30', 'n90', 'repeat', 'interval')
_OF_USER = ('n30', 'days30', 'since')


@dataclasses.dataclass(frozen=True)
class Blend:
  """Weights [1 + F * (_BINS + 1)] over buckets of the columns of `signals` and their bounds [F, _BINS + 1]."""

  weights: np.ndarray
  edges: np.ndarray

  def score(self, signals: np.ndarray) -> np.ndarray:
    """Log-odds [N] of a purchase, up to the constant of sampling."""
    columns = signals.shape[1]
    there, slopes = self.weights[1 : 1 + columns], self.weights[1 + columns :].reshape(columns, -1)
    # What buckets reached add up to is a broken line between the bounds: interpolation never makes the buckets.
    height = np.pad(np.cumsum(slopes, 1), ((0, 0), (1, 0)))

    def of_rows(signals: np.ndarray) -> np.ndarray:
      total = (signals != 0) @ there + self.weights[0]
      for column in range(columns):
        total += np.interp(signals[:, column], self.edges[column], height[column]).astype(np.float32)
      return total

    return row_blocks.over_rows(of_rows, signals)

  def contributions(self, signals: np.ndarray) -> np.ndarray:
    """[N, F] what each column adds to the score of each row."""
    columns = signals.shape[1]
    there, slopes = self.weights[1 : 1 + columns], self.weights[1 + columns :].reshape(columns, -1)
    height = np.pad(np.cumsum(slopes, 1), ((0, 0), (1, 0)))
    # Beside a row of zeros, of which a bucket can say something too.
    padded = np.concatenate([signals, np.zeros((1, columns), signals.dtype)])
    reached = [np.interp(padded[:, column], self.edges[column], height[column]) for column in range(columns)]
    lines = np.stack(reached, 1).astype(np.float32) if columns else np.zeros((len(padded), 0), np.float32)
    return (signals != 0) * there + lines[:-1] - lines[-1]


def weigh_sources(blend: Blend, snapshot: Snapshot, candidates: Candidates) -> dict[str, np.ndarray]:
  """[N] by source: what its rank and score add to each candidate's score, and what it reads off (repurchase the pair,
  category the affinities, popular the item) beside a candidate of whom that is not known."""
  levels = len(range(len(snapshot.categories))[-_LEVELS:])
  missing = [dict(zip(names, missing_row(names), strict=True)) for names in (PAIR, AFFINITY)]
  nothing = [missing[0][name] for name in _OF_PAIR] + [missing[1][name] for name in _OF_CATEGORY] * levels
  owners = ['repurchase'] * len(_OF_PAIR) + ['category'] * (len(_OF_CATEGORY) * levels) + ['popular'] * len(_OF_ITEM)
  owners += [''] * len(_OF_USER) + 2 * list(candidates.sources)
  signals = compute_signals(snapshot, candidates)
  bare = signals.copy()
  bare[:, : len(owners)] = 0
  bare[:, : len(nothing)] = np.log1p(np.array(nothing, np.float32))
  apart = blend.contributions(signals) - blend.contributions(bare)
  return {name: apart[:, [owner == name for owner in owners] + [False] * (signals.shape[1] - len(owners))].sum(1)
          for name in candidates.sources}  # fmt: skip


def compute_signals(snapshot: Snapshot, candidates: Candidates) -> np.ndarray:
  """[N, F] float32: rank and score of each source, counts of the pair, the item and its categories, promotions."""
  looked_up = functools.partial(_signals_of, snapshot)
  return row_blocks.over_rows(looked_up, candidates.user, candidates.item, candidates.rank, candidates.score)


def _signals_of(
  snapshot: Snapshot, user: np.ndarray, item: np.ndarray, rank: np.ndarray, score: np.ndarray
) -> np.ndarray:
  pair = snapshot.pair_rows(user, item)
  pick = lambda table, names, chosen: [table[:, names.index(name)] for name in chosen]
  columns = pick(pair, PAIR, _OF_PAIR)
  for level in range(len(snapshot.categories))[-_LEVELS:]:
    columns += pick(snapshot.affinity_rows(level, user, item), AFFINITY, _OF_CATEGORY)
  columns += [snapshot.column('item', name)[item] for name in _OF_ITEM]
  columns += [snapshot.column('user', name)[user] for name in _OF_USER]
  known = np.log1p(np.stack(columns, 1))
  rank = np.where(rank > 0, 1 / np.log2(1.0 + np.maximum(rank, 1)), 0.0)
  score = np.sign(score) * np.log1p(np.abs(score))
  announced = look_up_promotions(snapshot, user, item)
  return np.concatenate([known, rank, score, announced], 1).astype(np.float32)


def fit(values: np.ndarray, labels: np.ndarray, *, rows: int = 400_000, steps: int = 8, seed: int = 0) -> Blend:
  """Newton's method on a sample in which every purchase is kept.

  Args:
    found: signals [N, F].
    labels: [N] bool.
  """
  rng = np.random.default_rng(seed)
  share = min(1.0, rows / max(len(labels), 1))
  chosen = np.flatnonzero(labels | (rng.random(len(labels)) < share))
  bounds = bucket_bounds(values, _BINS)
  x, y = _buckets(values[chosen], bounds), labels[chosen].astype(np.float32)
  weights = np.zeros(x.shape[1], np.float32)
  ridge = np.full_like(weights, _RIDGE)
  ridge[0] = _CONSTANT_RIDGE
  if len(x) >= _MANY:  # the way to near the end takes most of the steps, and a part of the rows knows it
    part = slice(None, None, _PART)
    weights = _newton(np.ascontiguousarray(x[part]), y[part], weights, ridge / np.float32(_PART), steps)
  return Blend(_newton(x, y, weights, ridge, steps), bounds)


def _newton(x: np.ndarray, y: np.ndarray, weights: np.ndarray, ridge: np.ndarray, steps: int) -> np.ndarray:
  """The weights of the least loss, from some others on."""
  logits = x @ weights
  loss = _loss(logits, y, weights, ridge)
  for _ in range(steps):
    p = 1 / (1 + np.exp(-logits))
    hessian = _squares(x, np.sqrt(np.maximum(p * (1 - p), 1e-5)))
    hessian[np.diag_indices_from(hessian)] += ridge
    move = np.linalg.solve(hessian, x.T @ (y - p) - ridge * weights).astype(np.float32)
    before, moved = loss, x @ move
    for _ in range(_HALVINGS):  # a full step can go past the least loss
      loss = _loss(logits + moved, y, weights + move, ridge)
      if loss <= before:
        break
      move, moved = move * np.float32(0.5), moved * np.float32(0.5)
    else:
      loss = _loss(logits + moved, y, weights + move, ridge)
    weights, logits = weights + move, logits + moved
    if np.abs(move).max() < _STILL:
      break
  return weights


def _loss(logits: np.ndarray, y: np.ndarray, weights: np.ndarray, ridge: np.ndarray) -> float:
  """What `fit` makes least; logits are x @ weights."""
  logits = logits.astype(np.float64)
  return float(
    (np.logaddexp(0.0, logits) - y * logits).sum() + 0.5 * (ridge * np.square(weights, dtype=np.float64)).sum()
  )


def _squares(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
  """[F, F]: the matrix x' diag(scale)^2 x, of which BLAS makes one triangle (half the products)."""
  upper = np.zeros((x.shape[1],) * 2, np.float32, order='F')
  for first in range(0, len(x), _ROWS):
    rows = slice(first, first + _ROWS)
    upper = blas.ssyrk(1.0, (x[rows] * scale[rows, None]).T, beta=1.0, c=upper, overwrite_c=1)
  return np.triu(upper) + np.triu(upper, 1).T


def _buckets(values: np.ndarray, bounds: np.ndarray) -> np.ndarray:
  """[N, 1 + F * (_BINS + 1)]: one, whether each value is there at all, how far it reaches into each bucket."""
  low, width = bounds[:, :-1], np.diff(bounds)

  def of_rows(values: np.ndarray) -> np.ndarray:
    reach = np.clip((values[:, :, None] - low) / width, 0.0, 1.0).reshape(len(values), low.size)
    return np.concatenate([np.ones((len(values), 1), np.float32), values != 0, reach], 1).astype(np.float32)

  return row_blocks.over_rows(of_rows, values)
