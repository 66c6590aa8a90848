"""Stock prices that are corrected.

`update(time, price)` records a price, or corrects the one recorded for that time. `current()` answers the price of the
latest time, `maximum()` and `minimum()` the highest and lowest of all times. These need one record at least.
Times and prices are 1 or more.
"""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem


class StockPrice:
  """Two heaps in which records that were corrected are skipped. Amortised."""

  def __init__(self):
    self.price: dict[int, int] = {}
    self.latest = -1
    self.highest: list[tuple[int, int]] = []
    self.lowest: list[tuple[int, int]] = []

  def update(self, time: int, price: int) -> None:
    self.price[time] = price
    self.latest = max(self.latest, time)
    heapq.heappush(self.highest, (-price, time))
    heapq.heappush(self.lowest, (price, time))

  def current(self) -> int:
    return self.price[self.latest]

  def maximum(self) -> int:
    while -self.highest[0][0] != self.price[self.highest[0][1]]:
      heapq.heappop(self.highest)
    return -self.highest[0][0]

  def minimum(self) -> int:
    while self.lowest[0][0] != self.price[self.lowest[0][1]]:
      heapq.heappop(self.lowest)
    return self.lowest[0][0]


class Oracle:
  """A dictionary that is searched through."""

  def __init__(self):
    self.prices = {}

  def update(self, time, price):
    self.prices[time] = price

  def current(self):
    return self.prices[max(self.prices)]

  def maximum(self):
    return max(self.prices.values())

  def minimum(self):
    return min(self.prices.values())


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  update = lambda: ('update', [rng.randrange(size), rng.randint(1, 4 * size)])
  calls: list[Call] = [('StockPrice', []), update()]
  for _ in range(count - 1):
    calls.append(update() if rng.random() < 0.6 else (rng.choice(('current', 'maximum', 'minimum')), []))
  return calls


PROBLEM = Problem(
  StockPrice, Oracle, operations, {'update': 'log n', 'current': '1', 'maximum': 'log n', 'minimum': 'log n'}
)
