"""Dynamic batching: items of many requests computed together, none waiting longer than a bound."""

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mlsd_jax.serving.errors import too_busy


@dataclasses.dataclass(eq=False)
class _Waiting:
  """One request's items."""

  items: Sequence[Any]
  cost: int
  client: str
  answer: asyncio.Future[list[Any]]


class Batcher:
  """Collects items, and hands them to `compute` in a thread, or in several.

  A batch is begun when a thread is free and either `budget` is reached or its first item has waited `wait` seconds.
  Where nothing else waits, an item waits for no other: a lone request is as fast as without batching. Clients take
  turns, so that one with many requests does not keep the others waiting.

  Attributes:
    on_batch: is told the items and the seconds of each batch.
  """

  def __init__(
    self,
    name: str,
    compute: Callable[[list[Any]], Sequence[Any]],
    cost: Callable[[Any], int],
    *,
    budget: int = 16_384,
    wait: float = 0.002,
    max_waiting: int = 256,
    threads: int = 1,
    on_batch: Callable[[int, float], None] = lambda items, seconds: None,
  ):
    """`compute` takes items and gives as many results; `cost` says what an item counts against the budget (tokens).

    Args:
      threads: batches that are computed side by side; more than one only for a `compute` that any thread may call.
    """
    self.name, self._compute, self._cost = name, compute, cost
    self._budget, self._wait, self._max_waiting, self.on_batch = budget, wait, max_waiting, on_batch
    self._queues: dict[str, list[_Waiting]] = {}
    self._came = asyncio.Event()
    self._worker: asyncio.Task[None] | None = None
    self._threads, self._free = ThreadPoolExecutor(threads, f'batches of {name}'), asyncio.Semaphore(threads)
    self._computing: set[asyncio.Task[None]] = set()

  @property
  def waiting(self) -> int:
    """Requests that wait for a batch."""
    return sum(map(len, self._queues.values()))

  async def __call__(self, items: Sequence[Any], client: str = '') -> list[Any]:
    """The results of `items`, in order.

    Raises:
      ApiError: too many requests are waiting (429).
    """
    if not items:
      return []
    if self.waiting >= self._max_waiting:
      raise too_busy(self.name)
    if self._worker is None or self._worker.done():
      self._worker = asyncio.create_task(self._run())
    request = _Waiting(items, sum(map(self._cost, items)), client, asyncio.get_running_loop().create_future())
    self._queues.setdefault(client, []).append(request)
    self._came.set()
    try:
      return await request.answer
    finally:  # a client that is gone is not computed for, unless its batch has begun
      queue = self._queues.get(client, [])
      if request in queue:
        queue.remove(request)

  async def _run(self) -> None:
    while True:
      await self._came.wait()
      await self._free.acquire()
      busy = self.waiting > 1
      if busy and self._total() < self._budget:
        await asyncio.sleep(self._wait)
      batch = self._take()
      if not self.waiting:
        self._came.clear()
      if not batch:
        self._free.release()
        continue
      task = asyncio.create_task(self._answer(batch))
      self._computing.add(task)  # nothing else holds it
      task.add_done_callback(self._computing.discard)

  async def _answer(self, batch: list[_Waiting]) -> None:
    items = [item for request in batch for item in request.items]
    began = time.perf_counter()
    try:
      results = list(await asyncio.get_running_loop().run_in_executor(self._threads, self._compute, items))
    except Exception as error:
      for request in batch:
        if not request.answer.done():
          request.answer.set_exception(error)
      return
    finally:
      self._free.release()
    self.on_batch(len(items), time.perf_counter() - began)
    for request in batch:
      mine, results = results[: len(request.items)], results[len(request.items) :]
      if not request.answer.done():
        request.answer.set_result(mine)

  def _total(self) -> int:
    return sum(request.cost for queue in self._queues.values() for request in queue)

  def _take(self) -> list[_Waiting]:
    """Requests up to the budget, a client at a time; a request that is above it alone is a batch of its own."""
    batch: list[_Waiting] = []
    spent = 0
    while True:
      clients = [client for client, queue in self._queues.items() if queue]
      if not clients:
        break
      took = False
      for client in clients:
        request = self._queues[client][0]
        if batch and spent + request.cost > self._budget:
          continue
        batch.append(self._queues[client].pop(0))
        spent += request.cost
        took = True
      if not took:
        break
    for client in [client for client, queue in self._queues.items() if not queue]:
      del self._queues[client]
    return batch

  async def close(self) -> None:
    """Stops; what waits is given up."""
    if self._worker is not None:
      self._worker.cancel()
    for task in self._computing:
      task.cancel()
    self._threads.shutdown(wait=False, cancel_futures=True)
