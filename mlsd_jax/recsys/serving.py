"""What answers a request: the funnel and what it knows of users and items, and `recommend` over them."""

import dataclasses
import time

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import funnel
from mlsd_jax.recsys.funnel import Funnel
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import features
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.filters import Filter


@dataclasses.dataclass(frozen=True)
class State:
  """All that serving needs.

  Attributes:
    funnel: its stages, as of the snapshot's cut.
    snapshot: what is known of users and items.
    users: id; row u is user u. One number more, len(users), stands for whoever is not there.
    items: id, name and the finest category.
    version: of a state that was loaded.
    purchases: what it was made from; None for one that was saved by an earlier release.
  """

  funnel: Funnel
  snapshot: Snapshot
  histories: Histories
  users: pl.DataFrame
  items: pl.DataFrame
  version: str = ''
  purchases: Dataset | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
  """Recommendations for some users.

  Attributes:
    items: [U, k], best first, -1 where there are no more.
    probability: [U, k] of a purchase within the week, given that the user buys at all.
    candidates: what the ranker chose from.
  """

  items: np.ndarray
  probability: np.ndarray
  candidates: Candidates


def recommend(
  state: State,
  users: np.ndarray,
  k: int = 12,
  *,
  exclude_bought: bool = False,
  in_stock: np.ndarray | None = None,
  least: int | None = None,
) -> Answer:
  """The k best items of each user. What the sources name is filled up from what sells and passes.

  Args:
    users: [U] numbers; len(state.users) for one who is not known.
    exclude_bought: leave out what the user has bought before.
    in_stock: [num_items] bool; others are left out.
    least: how many items what the sources name is filled up to; k by default.

  Raises:
    UserError: no users, a number that no user has, k below 1, `in_stock` of another form.
  """
  users = _check_users(state, users)
  if not isinstance(k, int | np.integer) or isinstance(k, bool) or k < 1:
    raise UserError(f'k={k!r}: at least one item is recommended')
  if in_stock is not None:
    _check_stock(in_stock, len(state.items))
  stages = dataclasses.replace(state.funnel, keep=max(state.funnel.keep, int(k)))
  only = Filter(in_stock, exclude_bought) if exclude_bought or in_stock is not None else None
  union = funnel.gather(
    state.snapshot,
    state.histories,
    users,
    stages.per_source,
    stages.retriever,
    only=only,
    least=int(k if least is None else least),
  )
  scored = funnel.score(stages, union)
  items, logits = scored.candidates.top(scored.logits[:, 0], int(k))
  return Answer(items, 1 / (1 + np.exp(-logits)), scored.candidates)


def estimate(state: State, user: int, item: int) -> float:
  """The probability of a purchase of an item that no source named."""
  sources = tuple(state.funnel.per_source)
  none = np.zeros((1, len(sources)), np.float32)
  one = Candidates(np.array([user]), np.array([0, 1]), np.array([item], np.int32), none.astype(np.int16), none, sources)
  inputs = state.funnel.scorer.inputs(state.snapshot, one, features.compute(state.snapshot, one))
  return float(1 / (1 + np.exp(-state.funnel.scorer(inputs)[0, 0])))


def _check_users(state: State, users: np.ndarray) -> np.ndarray:
  users = np.asarray(users)
  if users.ndim != 1 or not len(users):
    raise UserError(f'users must be an array of at least one number, got shape {users.shape}')
  if not np.issubdtype(users.dtype, np.integer):
    raise UserError(f'users are numbers of state.users (its rows), got {users.dtype}')
  wrong = users[(users < 0) | (users >= len(state.snapshot['user']))]
  if len(wrong):
    raise UserError(
      f'no user has number {wrong[0]}: 0 to {len(state.users) - 1}, or {len(state.users)} for an unknown one'
    )
  return users


def _check_stock(in_stock: np.ndarray, num_items: int) -> None:
  kind = f'{in_stock.dtype}, shape {in_stock.shape}' if isinstance(in_stock, np.ndarray) else type(in_stock).__name__
  if not isinstance(in_stock, np.ndarray) or in_stock.dtype != bool or in_stock.shape != (num_items,):
    raise UserError(f'in_stock must be a bool array of shape ({num_items},), a value an item; got {kind}')


def name_tables(dataset: Dataset) -> tuple[pl.DataFrame, pl.DataFrame]:
  """What of users and items is kept with a state: ids, names, the finest category."""
  finest = pl.col(dataset.categories[-1]) if dataset.categories else pl.lit(None, pl.String)
  return dataset.users.select('id'), dataset.items.select('id', 'name', finest.cast(pl.String).alias('category'))


def measure_latency(state: State, requests: int, seed: int = 0) -> tuple[float, float]:
  """Milliseconds of one request, median and 99th percentile: single users drawn at random, unknown ones among them."""
  rng = np.random.default_rng(seed)
  users = rng.integers(0, len(state.users) + 1, requests)
  users[:: max(requests // 10, 1)] = len(state.users)
  for user in users[:10]:
    recommend(state, np.array([user]))
  taken = []
  for user in users:
    began = time.perf_counter()
    recommend(state, np.array([user]))
    taken.append(1000 * (time.perf_counter() - began))
  return float(np.median(taken)), float(np.quantile(taken, 0.99))
