"""Movie rental.

`MovieRentingSystem(shops, entries)`: each entry [shop, movie, price] is one copy. `search(movie)` answers the five
shops that have it in for the least, `rent(shop, movie)` and `drop(shop, movie)` take a copy out and bring it back,
`report()` answers the five cheapest copies that are out, as [shop, movie]. Equal prices: by lower shop, then by lower
movie."""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem
from mlsd_jax.algorithms.sorted_list import SortedList

SHOWN = 5


class _Ranking:
  """The least of a changing set: a heap in which what has left is skipped. Amortised."""

  def __init__(self):
    self.heap: list[tuple[int, ...]] = []
    self.members: set[tuple[int, ...]] = set()
    self.queued: set[tuple[int, ...]] = set()

  def add(self, item: tuple[int, ...]) -> None:
    self.members.add(item)
    if item not in self.queued:
      self.queued.add(item)
      heapq.heappush(self.heap, item)

  def discard(self, item: tuple[int, ...]) -> None:
    self.members.discard(item)

  def least(self, number: int) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = []
    while self.heap and len(found) < number:
      item = heapq.heappop(self.heap)
      if item in self.members:
        found.append(item)
      else:
        self.queued.discard(item)
    for item in found:
      heapq.heappush(self.heap, item)
    return found


class MovieRentingSystem:
  """A ranking of the copies in for each movie, and one of all that are out."""

  def __init__(self, shops: int, entries: list[list[int]]):
    self.price: dict[tuple[int, int], int] = {}
    self.inside: dict[int, _Ranking] = {}
    self.out = _Ranking()
    for shop, movie, price in entries:
      self.price[shop, movie] = price
      self.inside.setdefault(movie, _Ranking()).add((price, shop))

  def search(self, movie: int) -> list[int]:
    return [shop for _, shop in self.inside[movie].least(SHOWN)] if movie in self.inside else []

  def rent(self, shop: int, movie: int) -> None:
    price = self.price[shop, movie]
    self.inside[movie].discard((price, shop))
    self.out.add((price, shop, movie))

  def drop(self, shop: int, movie: int) -> None:
    price = self.price[shop, movie]
    self.out.discard((price, shop, movie))
    self.inside[movie].add((price, shop))

  def report(self) -> list[list[int]]:
    return [[shop, movie] for _, shop, movie in self.out.least(SHOWN)]


class SortedRenting:
  """The same by sorted lists, in which what has left is not skipped but taken out: a binary search and a shift."""

  def __init__(self, shops: int, entries: list[list[int]]):
    self.price = {(shop, movie): price for shop, movie, price in entries}
    self.inside: dict[int, SortedList] = {}
    self.out = SortedList()
    for shop, movie, price in entries:
      self.inside.setdefault(movie, SortedList()).add((price, shop))

  def search(self, movie: int) -> list[int]:
    among = self.inside.get(movie, ())
    return [among[place][1] for place in range(min(SHOWN, len(among)))]

  def rent(self, shop: int, movie: int) -> None:
    price = self.price[shop, movie]
    self.inside[movie].remove((price, shop))
    self.out.add((price, shop, movie))

  def drop(self, shop: int, movie: int) -> None:
    price = self.price[shop, movie]
    self.out.remove((price, shop, movie))
    self.inside[movie].add((price, shop))

  def report(self) -> list[list[int]]:
    return [[*self.out[place][1:]] for place in range(min(SHOWN, len(self.out)))]


class Oracle:
  """Sorts all copies."""

  def __init__(self, shops, entries):
    self.copies = {(shop, movie): price for shop, movie, price in entries}
    self.out = set()

  def search(self, movie):
    found = [(price, shop) for (shop, each), price in self.copies.items() if each == movie]
    return [shop for _, shop in sorted(found) if (shop, movie) not in self.out][:5]

  def rent(self, shop, movie):
    self.out.add((shop, movie))

  def drop(self, shop, movie):
    self.out.remove((shop, movie))

  def report(self):
    return [[shop, movie] for _, shop, movie in sorted((self.copies[each], *each) for each in self.out)[:5]]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  shops, movies = size, max(1, size // 4)
  pairs = sorted({(rng.randrange(shops), rng.randrange(movies)) for _ in range(size)})
  calls: list[Call] = [('MovieRentingSystem', [shops, [[*pair, rng.randint(1, 20)] for pair in pairs]])]
  inside = list(pairs)
  out: list[tuple[int, int]] = []
  for _ in range(count):
    kind = rng.random()
    if kind < 0.2:
      calls.append(('search', [rng.randrange(movies + 1)]))
    elif kind < 0.3:
      calls.append(('report', []))
    else:
      renting = bool(inside) and (kind < 0.65 or not out)
      source, target = (inside, out) if renting else (out, inside)
      place = rng.randrange(len(source))
      source[place], source[-1] = source[-1], source[place]
      target.append(source.pop())
      calls.append(('rent' if renting else 'drop', list(target[-1])))
  return calls


COMPLEXITY = {'search': 'log n', 'rent': 'log n', 'drop': 'log n', 'report': 'log n'}
PROBLEM = Problem(MovieRentingSystem, Oracle, operations, COMPLEXITY, others={SortedRenting: COMPLEXITY})
