"""A recommender's state behind dynamic batches: the requests of many users go through the funnel together."""

import dataclasses
import datetime
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import reasons, serving
from mlsd_jax.recsys.serving import State
from mlsd_jax.serving.batching import Batcher


@dataclasses.dataclass(frozen=True)
class Wanted:
  """One user's request.

  Attributes:
    user: its row in the state's users; one more for an unknown one.
    number: how many items.
    exclude_bought: leave out what the user has bought.
    in_stock: rows of the items that may be recommended; None for all.
  """

  user: int
  number: int
  exclude_bought: bool = False
  in_stock: tuple[int, ...] | None = None


class RecommendService:
  """What to show a user next.

  Attributes:
    name: by which requests ask for it.
    state: the funnel, and what it knows.
  """

  def __init__(
    self,
    name: str,
    state: State,
    *,
    max_waiting: int = 256,
    on_batch: Callable[[int, float], None] = lambda items, seconds: None,
  ):
    self.name, self.state = name, state
    self._users = {str(id_): row for row, id_ in enumerate(state.users['id'])}
    self._items = {str(id_): row for row, id_ in enumerate(state.items['id'])}
    # Some 64 users are looked up and ranked in little more time than one.
    self._batches = Batcher(name, self._compute, lambda _: 1, budget=64, max_waiting=max_waiting, on_batch=on_batch)

  @property
  def batchers(self) -> tuple[Batcher, ...]:
    return (self._batches,)

  @property
  def waiting(self) -> int:
    return self._batches.waiting

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
    rows = None
    if in_stock is not None:
      unknown = [id_ for id_ in in_stock if id_ not in self._items]
      if unknown:
        raise UserError(f'in_stock: no item has the id {unknown[0][:100]!r} (one of {len(unknown)} that are not known)')
      rows = tuple(sorted({self._items[id_] for id_ in in_stock}))
    row = self._users.get(user, len(self.state.users))
    (items,) = await self._batches([Wanted(row, number, exclude_bought, rows)], client)
    return {'user': user, 'known': user in self._users, 'version': self.state.version, 'items': items}

  def history(self, user: str, number: int = 20) -> list[dict[str, Any]]:
    """What a user bought lately, the latest first, with the days since."""
    if user not in self._users:
      return []
    row = self._users[user]
    recent, ages = self.state.snapshot['recent'][row], self.state.snapshot['recent_age'][row]
    bought = [(int(item), float(age)) for item, age in zip(recent, ages, strict=False) if item >= 0]
    return [self._item(item) | {'days_ago': age} for item, age in bought[:number]]

  def list_users(self, query: str = '', limit: int = 20) -> list[dict[str, Any]]:
    """{'id', 'purchases'} of users whose id contains `query`, those that begin with it first."""
    ids = self.state.users.lazy().select(id=pl.col('id').cast(pl.String)).with_row_index('row')
    matching = ids.filter(pl.col('id').str.contains(query, literal=True))
    begins = pl.col('id').str.starts_with(query)
    found = matching.sort(~begins, 'row').head(limit).collect()
    start = self.state.histories.start
    return [{'id': id_, 'purchases': int(start[row + 1] - start[row])} for row, id_ in found.iter_rows()]

  def show_user(self, user: str, limit: int = 50) -> dict[str, Any]:
    """{'id', 'known', 'history'}: every purchase with its item, name and time, the newest first."""
    row = self._users.get(user)
    history = []
    if row is not None:
      past = self.state.histories
      first, last = int(past.start[row]), int(past.start[row + 1])
      for place in range(last - 1, max(first, last - limit) - 1, -1):
        item = self._item(int(past.item[place]) - 1)
        history.append({'item': item['id'], 'name': item['name'], 'time': _iso(int(past.time[place]) + past.origin)})
    return {'id': user, 'known': row is not None, 'history': history}

  def warm_up(self) -> None:
    """Compiles the shapes of one request and of a full batch."""
    for users in (1, 8, 64):
      self._compute([Wanted(len(self.state.users), 12)] * users)

  def _compute(self, requests: list[Wanted]) -> list[list[dict[str, Any]]]:
    """Requests with the same conditions together; the longest list of them is cut for the others."""
    out: list[list[dict[str, Any]]] = [[]] * len(requests)
    alike: dict[tuple[bool, tuple[int, ...] | None], list[int]] = {}
    for place, request in enumerate(requests):
      alike.setdefault((request.exclude_bought, request.in_stock), []).append(place)
    for (exclude_bought, rows), places in alike.items():
      in_stock = None
      if rows is not None:
        in_stock = np.zeros(len(self.state.items), bool)
        in_stock[list(rows)] = True
      users = np.array([requests[place].user for place in places])
      number = max(requests[place].number for place in places)
      answer = serving.recommend(self.state, users, number, exclude_bought=exclude_bought, in_stock=in_stock)
      for at, place in enumerate(places):
        out[place] = self._tell(answer, at, int(users[at]))[: requests[place].number]
    return out

  def _tell(self, answer: serving.Answer, at: int, user: int) -> list[dict[str, Any]]:
    found = answer.candidates
    first, last = int(found.start[at]), int(found.start[at + 1])
    told = []
    for item, chance in zip(answer.items[at], answer.probability[at], strict=True):
      if item < 0:
        break
      row = first + int(np.searchsorted(found.item[first:last], item))
      why = reasons.explain(self.state, user, int(item), found.rank[row], found.sources, found.score[row])
      told.append(self._item(int(item)) | {'probability': float(chance), 'sources': why.sources, 'why': why.why})
    return told

  def _item(self, row: int) -> dict[str, Any]:
    id_, name, category = self.state.items.row(row)
    return {'id': str(id_), 'name': name, 'category': category}

  async def close(self) -> None:
    await self._batches.close()


def _iso(seconds: int) -> str:
  return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
