"""Ratings themselves, not events made of them: how many stars, by biases alone and by biases with factors.

Both are ridge regressions on squared error, solved by turns: the baseline predictors of Koren, Bell and Volinsky (2009,
IEEE Computer 42(8), equation 4) and their factor model (equation 5), penalised by how much each user and item rated as
in Zhou et al. (2008, AAIM). What is judged is each user's latest share, as a shop asks about what comes next.

Names: N ratings, U users, I items, K factors.
"""

import dataclasses
from typing import Annotated

import numpy as np
import scipy.sparse as sp

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.resampling import Estimate, bootstrap, sign_flip_p
from mlsd_jax.schema import Positive, Share, at_least

PENALTIES = (0.03, 0.06, 0.12, 0.25)  # of a factor, per rating; chosen on ratings that are not judged
_BIAS_PENALTY = 5.0  # ratings that say the mean, which every user and item has beside its own
_BIAS_ROUNDS = 10
_CLOSEST = 1e-6  # of a user's or item's matrix: one without ratings has factors of 0

_LARGEST = 1e6  # squares of it are far from what a float holds


@dataclasses.dataclass(frozen=True)
class RatingsConfig:
  """How ratings are predicted and judged.

  Attributes:
    factors: of a user and an item; 0 leaves biases alone.
    rounds: in each of which users' and items' factors are solved once.
    held_out: share of each user's ratings, the latest, that is judged.
  """

  factors: Annotated[int, at_least(0)] = 16
  rounds: Positive = 12
  held_out: Share = 0.1


@dataclasses.dataclass(frozen=True)
class Ratings:
  """N ratings: user, item [N] int32, value [N] float64."""

  user: np.ndarray
  item: np.ndarray
  value: np.ndarray

  def take(self, rows: np.ndarray) -> 'Ratings':
    return Ratings(self.user[rows], self.item[rows], self.value[rows])


@dataclasses.dataclass(frozen=True)
class Model:
  """mean + of_user [U] + of_item [I] + users [U, K] . items [I, K], within the scale (low, high)."""

  mean: float
  of_user: np.ndarray
  of_item: np.ndarray
  users: np.ndarray
  items: np.ndarray
  scale: tuple[float, float]

  def predict(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
    """[N] ratings of pairs; who or what was never rated has the biases of nobody."""
    score = self.mean + self.of_user[user] + self.of_item[item]
    return np.clip(score + np.einsum('nk,nk->n', self.users[user], self.items[item]), *self.scale)


def split_latest(data: Dataset, share: float) -> tuple[Ratings, Ratings]:
  """Ratings to learn from, and each user's latest `share` (rounded down, so that who rated little is not asked).

  Raises:
    UserError: nobody rated enough for one to be held out, or a rating is beyond _LARGEST.
  """
  table = data.events.sort('time', maintain_order=True)
  every = Ratings(table['user'].to_numpy(), table['item'].to_numpy(), table['rating'].to_numpy().astype(np.float64))
  if len(every.value) and (largest := np.abs(every.value).max()) > _LARGEST:
    raise UserError(f'{data.name}: a rating of {largest:g}; beyond {_LARGEST:g} it is no rating')
  known, latest = _split(every, share)
  if not len(latest.user):
    raise UserError(
      f'{data.name}: nobody rated {int(np.ceil(1 / share))} things, of which the latest would be held out'
    )
  return known, latest


def _split(every: Ratings, share: float) -> tuple[Ratings, Ratings]:
  """The same of ratings in order of time."""
  counts = np.bincount(every.user)
  order = np.argsort(every.user, kind='stable')
  first = np.cumsum(counts) - counts
  place = np.empty(len(order), np.int64)
  place[order] = np.arange(len(order)) - first[every.user[order]]
  latest = place >= (counts - np.floor(share * counts).astype(np.int64))[every.user]
  return every.take(np.flatnonzero(~latest)), every.take(np.flatnonzero(latest))


def fit_biases(known: Ratings, num_users: int, num_items: int) -> Model:
  """How much each user and item is above the mean, both shrunk: no factors."""
  mean = float(known.value.mean())
  of_user, of_item = np.zeros(num_users), np.zeros(num_items)
  count = lambda owner, size: np.bincount(owner, minlength=size) + _BIAS_PENALTY
  average = lambda owner, left, size: np.bincount(owner, left, size) / count(owner, size)
  for _ in range(_BIAS_ROUNDS):
    of_item = average(known.item, known.value - mean - of_user[known.user], num_items)
    of_user = average(known.user, known.value - mean - of_item[known.item], num_users)
  scale = float(known.value.min()), float(known.value.max())
  return Model(mean, of_user, of_item, np.zeros((num_users, 0)), np.zeros((num_items, 0)), scale)


def fit_factors(known: Ratings, biases: Model, factors: int, penalty: float, rounds: int, seed: int = 0) -> Model:
  """Factors of what the biases leave, users and items solved by turns (alternating least squares)."""
  left = known.value - biases.mean - biases.of_user[known.user] - biases.of_item[known.item]
  shape = len(biases.of_user), len(biases.of_item)
  residual = sp.csr_matrix((left, (known.user, known.item)), shape)
  rated = sp.csr_matrix((np.ones(len(left)), (known.user, known.item)), shape)
  items = np.random.default_rng(seed).normal(0, 0.1, (shape[1], factors))
  users = np.zeros((shape[0], factors))
  for _ in range(rounds):
    users = _solve(residual, rated, items, penalty)
    items = _solve(residual.T.tocsr(), rated.T.tocsr(), users, penalty)
  return dataclasses.replace(biases, users=users, items=items)


def _solve(residual: sp.csr_matrix, rated: sp.csr_matrix, others: np.ndarray, penalty: float) -> np.ndarray:
  """[rows, K] of least squared error, given the factors of the columns."""
  size = others.shape[1]
  squares = rated @ np.einsum('ik,il->ikl', others, others).reshape(-1, size * size)
  number = np.asarray(rated.sum(1)).ravel()
  ridge = (penalty * number + _CLOSEST)[:, None, None] * np.eye(size)
  return np.linalg.solve(squares.reshape(-1, size, size) + ridge, (residual @ others)[:, :, None])[:, :, 0]


def choose_penalty(known: Ratings, num_users: int, num_items: int, config: RatingsConfig) -> float:
  """The penalty of PENALTIES under which each user's latest of the known ratings are predicted best from the others."""
  earlier, latest = _split(known, config.held_out)
  if not len(latest.user):
    return PENALTIES[-1]
  biases = fit_biases(earlier, num_users, num_items)
  fit = lambda penalty: fit_factors(earlier, biases, config.factors, penalty, config.rounds)
  error = lambda model: float(np.square(model.predict(latest.user, latest.item) - latest.value).mean())
  return min(PENALTIES, key=lambda penalty: error(fit(penalty)))


@dataclasses.dataclass(frozen=True)
class Judged:
  """What came of ratings held out.

  Attributes:
    known, latest: how many ratings were learnt from, and judged.
    penalty: chosen of PENALTIES; 0 without factors.
    errors: mean, biases, factors -> rmse, mae with their intervals over ratings.
    apart: mean over users of the squared error of the factors less that of the biases, with its interval; None without
      factors.
    p: of a sign-flip test of it.
  """

  known: int
  latest: int
  penalty: float
  errors: dict[str, dict[str, Estimate]]
  apart: Estimate | None = None
  p: float = 1.0


def judge(data: Dataset, config: RatingsConfig) -> Judged:
  """Each user's latest ratings predicted by the mean, by biases and by biases with factors."""
  known, latest = split_latest(data, config.held_out)
  biases = fit_biases(known, data.num_users, data.num_items)
  flat = dataclasses.replace(biases, of_user=0 * biases.of_user, of_item=0 * biases.of_item)
  models, penalty = {'mean': flat, 'biases': biases}, 0.0
  if config.factors:
    penalty = choose_penalty(known, data.num_users, data.num_items, config)
    models['factors'] = fit_factors(known, biases, config.factors, penalty, config.rounds)
  squares, errors = {}, {}
  for name, model in models.items():
    error = model.predict(latest.user, latest.item) - latest.value
    squares[name] = np.square(error)
    squared = bootstrap(squares[name])
    rmse = Estimate(*(float(np.sqrt(value)) for value in (squared.mean, squared.low, squared.high)))
    errors[name] = {'rmse': rmse, 'mae': bootstrap(np.abs(error))}
  of_all = Judged(len(known.user), len(latest.user), penalty, errors)
  if not config.factors:
    return of_all
  number = np.bincount(latest.user)
  by_user = np.bincount(latest.user, squares['factors'] - squares['biases'])[number > 0] / number[number > 0]
  return dataclasses.replace(of_all, apart=bootstrap(by_user), p=sign_flip_p(by_user))


def format_table(judged: Judged) -> str:
  """The table as text."""
  lines = [f'{"":<10}{"RMSE":>26}{"MAE":>26}']
  lines += [f'{name:<10}{cell["rmse"]!s:>26}{cell["mae"]!s:>26}' for name, cell in judged.errors.items()]
  if judged.apart is not None:
    lines.append(f'squared error a user, factors - biases: {judged.apart}, p = {judged.p:.4f}')
  return '\n'.join(lines)
