"""A recommender's state behind dynamic batches: the requests of many users go through the funnel together."""

import asyncio
import dataclasses
import datetime
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import reasons, serving
from mlsd_jax.recsys.live.live_state import View
from mlsd_jax.recsys.serving import State
from mlsd_jax.serving.batching import Batcher
from mlsd_jax.serving.shop import Shop


@dataclasses.dataclass(frozen=True)
class Wanted:
  """One user's request.

  Attributes:
    user: its id.
    number: how many items.
    exclude_bought: leave out what the user has bought.
    in_stock: ids of the items that may be recommended; None for all.
  """

  user: str
  number: int
  exclude_bought: bool = False
  in_stock: frozenset[str] | None = None


class RecommendService:
  """What to show a user next.

  Attributes:
    name: by which requests ask for it.
    shop: where what happens is counted; None where the state stays as it was built.
  """

  def __init__(
    self,
    name: str,
    state: State,
    *,
    shop: Shop | None = None,
    max_waiting: int = 256,
    on_batch: Callable[[int, float], None] = lambda items, seconds: None,
  ):
    self.name, self.shop, self._built = name, shop, View.of(state)
    # Some 64 users are looked up and ranked in little more time than one.
    self._batches = Batcher(name, self._compute, lambda _: 1, budget=64, max_waiting=max_waiting, on_batch=on_batch)

  @property
  def batchers(self) -> tuple[Batcher, ...]:
    return (self._batches,)

  @property
  def waiting(self) -> int:
    return self._batches.waiting

  @property
  def view(self) -> View:
    """What a request is answered from now."""
    return self.shop.view if self.shop else self._built

  async def recommend(
    self,
    user: str,
    number: int = 12,
    *,
    exclude_bought: bool = False,
    in_stock: Sequence[str] | None = None,
    client: str = '',
  ) -> dict[str, Any]:
    """{'user', 'known', 'version', 'items'}: items best first, with the chance of a purchase, the sources, and why.

    Args:
      user: an id; one that is not known gets what is popular, ranked for somebody without a history.
      in_stock: ids of items; others are left out.

    Raises:
      UserError: an item of in_stock that there is not.
      ApiError: too many requests wait (429).
    """
    view, stocked = self.view, None
    if in_stock is not None:
      unknown = [id_ for id_ in in_stock if id_ not in view.items]
      if unknown:
        raise UserError(f'in_stock: no item has the id {unknown[0][:100]!r} (one of {len(unknown)} that are not known)')
      stocked = frozenset(in_stock)
    known = user in view.users
    (items,) = await self._batches([Wanted(user, number, exclude_bought, stocked)], client)
    return {'user': user, 'known': known, 'version': view.state.version, 'items': items}

  def history(self, user: str, number: int = 20) -> list[dict[str, Any]]:
    """What a user bought lately, the latest first, with the days since."""
    view = self.view
    if user not in view.users:
      return []
    row, state = view.users[user], view.state
    recent, ages = state.snapshot['recent'][row], state.snapshot['recent_age'][row]
    bought = [(int(item), float(age)) for item, age in zip(recent, ages, strict=False) if item >= 0]
    return [_describe(state, item) | {'days_ago': age} for item, age in bought[:number]]

  def list_users(self, query: str = '', limit: int = 20) -> list[dict[str, Any]]:
    """{'id', 'purchases'} of users whose id contains `query`, those that begin with it first."""
    view = self.view
    ids = pl.LazyFrame({'id': list(view.users)}, {'id': pl.String}).with_row_index('number')
    matching = ids.filter(pl.col('id').str.contains(query, literal=True))
    found = matching.sort(~pl.col('id').str.starts_with(query), 'number').head(limit).collect()['id'].to_list()
    rows = [view.users[id_] for id_ in found]
    start = view.state.histories.start
    return [{'id': id_, 'purchases': int(start[row + 1] - start[row])} for id_, row in zip(found, rows, strict=True)]

  def show_user(self, user: str, limit: int = 50) -> dict[str, Any]:
    """{'id', 'known', 'history'}: every purchase with its item, name and time, the newest first."""
    view, history = self.view, []
    row = view.users.get(user)
    state = view.state
    if row is not None:
      past = state.histories
      first, last = int(past.start[row]), int(past.start[row + 1])
      for place in range(last - 1, max(first, last - limit) - 1, -1):
        item = _describe(state, int(past.item[place]) - 1)
        history.append({'item': item['id'], 'name': item['name'], 'time': _iso(int(past.time[place]) + past.origin)})
    return {'id': user, 'known': row is not None, 'history': history}

  def warm_up(self) -> None:
    """Compiles the shapes of one request and of a full batch."""
    for users in (1, 8, 64):
      self._compute([Wanted('', 12)] * users)

  def _compute(self, requests: list[Wanted]) -> list[list[dict[str, Any]]]:
    """Requests with the same conditions together; the longest list of them is cut for the others."""
    out: list[list[dict[str, Any]]] = [[]] * len(requests)
    alike: dict[tuple[bool, frozenset[str] | None], list[int]] = {}
    for place, request in enumerate(requests):
      alike.setdefault((request.exclude_bought, request.in_stock), []).append(place)
    view = self.view
    rows = [view.row(request.user) for request in requests]
    state = view.state
    for (exclude_bought, stocked), places in alike.items():
      in_stock = None
      if stocked is not None:
        in_stock = np.zeros(len(state.items), bool)
        in_stock[[view.items[id_] for id_ in stocked if id_ in view.items]] = True
      users = np.array([rows[place] for place in places])
      number = max(requests[place].number for place in places)
      answer = serving.recommend(state, users, number, exclude_bought=exclude_bought, in_stock=in_stock)
      for place, told in zip(places, _tell(state, answer, users), strict=True):
        out[place] = told[: requests[place].number]
    return out

  async def close(self) -> None:
    await self._batches.close()
    if self.shop:
      await asyncio.to_thread(self.shop.close)


def _tell(state: State, answer: serving.Answer, users: np.ndarray) -> list[list[dict[str, Any]]]:
  """What is told of each user's items; reasons of all of them are looked up at once."""
  found = answer.candidates
  owner, place = np.nonzero(answer.items >= 0)
  items = answer.items[owner, place]
  # Candidates of a user ascend by item: one number for both finds all of them in one search.
  number = len(state.items)
  row = np.searchsorted(found.row * np.int64(number) + found.item, owner * np.int64(number) + items)
  why = reasons.explain_each(state, users[owner], items, found.rank[row], found.sources, found.score[row])
  told: list[list[dict[str, Any]]] = [[] for _ in users]
  chances = answer.probability[owner, place].tolist()
  for user, item, chance, reason in zip(owner, items.tolist(), chances, why, strict=True):
    told[user].append(_describe(state, item) | {'probability': chance, 'sources': reason.sources, 'why': reason.why})
  return told


def _describe(state: State, row: int) -> dict[str, Any]:
  id_, name, category = state.items.row(row)
  return {'id': str(id_), 'name': name, 'category': category}


def _iso(seconds: int) -> str:
  return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
