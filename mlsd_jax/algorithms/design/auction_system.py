"""Auction.

`add_bid(user, item, amount)` bids an amount of 1 or more, in place of the user's earlier bid for the item;
`update_bid(user, item, amount)` changes a bid and `remove_bid(user, item)` withdraws one that is there;
`get_highest_bidder(item)` answers the user of the highest bid (of equal ones the highest number), -1 when there is
none."""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem


class AuctionSystem:
  """For each item a heap in which bids that no longer hold are skipped. Amortised."""

  def __init__(self):
    self.bids: dict[tuple[int, int], int] = {}
    self.heaps: dict[int, list[tuple[int, int]]] = {}

  def add_bid(self, user: int, item: int, amount: int) -> None:
    self.bids[user, item] = amount
    heapq.heappush(self.heaps.setdefault(item, []), (-amount, -user))

  def update_bid(self, user: int, item: int, amount: int) -> None:
    self.add_bid(user, item, amount)

  def remove_bid(self, user: int, item: int) -> None:
    del self.bids[user, item]

  def get_highest_bidder(self, item: int) -> int:
    heap = self.heaps.get(item, [])
    while heap and self.bids.get((-heap[0][1], item)) != -heap[0][0]:
      heapq.heappop(heap)
    return -heap[0][1] if heap else -1


class Oracle:
  """A dictionary that is searched through."""

  def __init__(self):
    self.bids = {}

  def add_bid(self, user, item, amount):
    self.bids[user, item] = amount

  update_bid = add_bid

  def remove_bid(self, user, item):
    del self.bids[user, item]

  def get_highest_bidder(self, item):
    return max(((amount, user) for (user, each), amount in self.bids.items() if each == item), default=(0, -1))[1]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('AuctionSystem', [])]
  held: set[tuple[int, int]] = set()
  items = max(1, size // 8)
  for _ in range(count):
    pair = (rng.randrange(16), rng.randrange(items))
    kind = rng.random()
    if kind < 0.3:
      calls.append(('get_highest_bidder', [pair[1]]))
    elif pair in held and kind < 0.6:
      held.remove(pair)
      calls.append(('remove_bid', list(pair)))
    else:
      name = 'update_bid' if pair in held and rng.random() < 0.7 else 'add_bid'
      held.add(pair)
      calls.append((name, [*pair, rng.randint(1, 30)]))
  return calls


PROBLEM = Problem(
  AuctionSystem,
  Oracle,
  operations,
  {'add_bid': 'log n', 'update_bid': 'log n', 'remove_bid': '1', 'get_highest_bidder': 'log n'},
)
