"""A recommender's state behind dynamic batches: the requests of many users go through the funnel together."""

import asyncio
import datetime
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.recsys.live.live_state import View
from mlsd_jax.recsys.serving import State
from mlsd_jax.serving.answers import AnswerLog, Shown
from mlsd_jax.serving.batching import Batcher
from mlsd_jax.serving.monitoring import Monitor
from mlsd_jax.serving.rules import Rules
from mlsd_jax.serving.shop import Shop
from mlsd_jax.serving.showing import Made, Wanted, describe, show

_THREADS = 2  # batches that go through the funnel side by side: numpy lets others run while it works on an array


class RecommendService:
  """What to show a user next.

  Attributes:
    name: by which requests ask for it.
    shop: where what happens is counted; None where the state stays as it was built.
    rules: that hold for every request.
    answers: where what was shown is logged.
    monitor: figures of what is asked and answered; made by `warm_up`.
  """

  def __init__(
    self,
    name: str,
    state: State,
    *,
    shop: Shop | None = None,
    rules: Rules | None = None,
    answers: AnswerLog | None = None,
    max_waiting: int = 256,
    threads: int = _THREADS,
    on_batch: Callable[[int, float], None] = lambda items, seconds: None,
  ):
    self.name, self.shop, self._built = name, shop, View.of(state)
    self.rules, self.answers = rules or Rules(), answers
    self.monitor: Monitor | None = None
    self._rng = np.random.default_rng()
    # Some 64 users are looked up and ranked in little more time than one.
    self._batches = Batcher(
      name, self._compute, lambda _: 1, budget=64, max_waiting=max_waiting, threads=threads, on_batch=on_batch
    )

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

  async def recommend(self, user: str, number: int = 12, *, client: str = '', **asked: Any) -> dict[str, Any]:
    """{'user', 'known', 'version', 'answer', 'items'}: items best first, the chance of a purchase, sources, and why.

    Args:
      user: an id; one that is not known gets what is popular, ranked for somebody without a history.
      asked: fields of Rules, for this request.

    Raises:
      UserError: an item or a category that there is not.
      ApiError: too many requests wait (429).
    """
    view, rules = self.view, self.rules
    if any(value is not None for value in asked.values()):
      rules = rules.of_request(asked)
      rules.check(view)
    known = user in view.users
    (made,) = await self._batches([Wanted(user, number, rules)], client)
    id_ = uuid.uuid4().hex
    self._note(id_, user, known, rules, made, view)
    return {'user': user, 'known': known, 'version': view.state.version, 'answer': id_, 'items': made.items}

  def _note(self, id_: str, user: str, known: bool, rules: Rules, made: Made, view: View) -> None:
    items = view.state.items['id']
    ids = lambda rows: ['' if row < 0 else str(items[row]) for row in rows.tolist()]
    shown = Shown(
      id_,
      self.shop.now() if self.shop else view.state.snapshot.cut,
      self.name,
      view.state.version,
      user,
      known,
      [each['id'] for each in made.items],
      [each['probability'] for each in made.items],
      made.slate.propensity.tolist(),
      ids(made.slate.greedy),
      made.slate.open.tolist(),
      rules.explore,
      ids(made.pool),
      ids(made.candidates),
      rules.to_json(),
    )
    if self.answers is not None:
      self.answers.add(shown)
    if self.monitor is not None:
      self.monitor.on_answer(shown, view.state.snapshot['user'][view.users[user]] if known else None)

  def history(self, user: str, number: int = 20) -> list[dict[str, Any]]:
    """What a user bought lately, the latest first, with the days since."""
    view = self.view
    if user not in view.users:
      return []
    row, state = view.users[user], view.state
    recent, ages = state.snapshot['recent'][row], state.snapshot['recent_age'][row]
    bought = [(int(item), float(age)) for item, age in zip(recent, ages, strict=False) if item >= 0]
    return [describe(state, item) | {'days_ago': age} for item, age in bought[:number]]

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
        item = describe(state, int(past.item[place]) - 1)
        history.append({'item': item['id'], 'name': item['name'], 'time': _iso(int(past.time[place]) + past.origin)})
    return {'id': user, 'known': row is not None, 'history': history}

  def warm_up(self) -> None:
    """Compiles the shapes of one request and of a full batch."""
    for users in (1, 8, 64):
      self._compute([Wanted('', 12)] * users)
    self.monitor = Monitor(self._built.state)
    if self.shop is not None and self.shop.version == self._built.state.version:
      self.shop.listener = self.monitor.on_events

  def _compute(self, requests: list[Wanted]) -> list[Made]:
    return show(self.view, requests, self.shop.newcomers if self.shop else np.zeros(0, np.int64), self._rng)

  def take_over(self) -> None:
    """Makes the shop, which outlives builds, count on this service's build."""
    if self.shop is not None:
      self.shop.replace(self._built.state)
      if self.monitor is not None:
        self.shop.listener = self.monitor.on_events

  async def retire(self) -> None:
    """Closes what is its own; shop and log of answers go on with the build that has taken its place."""
    await self._batches.close()

  async def close(self) -> None:
    await self._batches.close()
    for each in (self.shop, self.answers):
      if each is not None:
        await asyncio.to_thread(each.close)


def _iso(seconds: int) -> str:
  return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
