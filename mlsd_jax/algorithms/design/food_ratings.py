"""Food ratings.

`FoodRatings(foods, cuisines, ratings)`, of foods that differ: `change_rating(food, rating)` rates a food anew,
`highest_rated(cuisine)` answers the best food of a cuisine that there is, of equal ones the first by name."""

import heapq
import random

from mlsd_jax.algorithms.problem import Call, Problem


class FoodRatings:
  """For each cuisine a heap in which ratings that no longer hold are skipped. Amortised."""

  def __init__(self, foods: list[str], cuisines: list[str], ratings: list[int]):
    self.cuisine = dict(zip(foods, cuisines, strict=True))
    self.rating = dict(zip(foods, ratings, strict=True))
    self.heaps: dict[str, list[tuple[int, str]]] = {}
    for food in foods:
      heapq.heappush(self.heaps.setdefault(self.cuisine[food], []), (-self.rating[food], food))

  def change_rating(self, food: str, rating: int) -> None:
    self.rating[food] = rating
    heapq.heappush(self.heaps[self.cuisine[food]], (-rating, food))

  def highest_rated(self, cuisine: str) -> str:
    heap = self.heaps[cuisine]
    while -heap[0][0] != self.rating[heap[0][1]]:
      heapq.heappop(heap)
    return heap[0][1]


class Oracle:
  """A list that is searched through."""

  def __init__(self, foods, cuisines, ratings):
    self.rows = {food: [cuisine, rating] for food, cuisine, rating in zip(foods, cuisines, ratings, strict=True)}

  def change_rating(self, food, rating):
    self.rows[food][1] = rating

  def highest_rated(self, cuisine):
    return min((-rating, food) for food, (each, rating) in self.rows.items() if each == cuisine)[1]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  foods = [f'food{number}' for number in range(size)]
  cuisines = [f'cuisine{rng.randrange(max(1, size // 8))}' for _ in foods]
  calls: list[Call] = [('FoodRatings', [foods, cuisines, [rng.randint(1, 20) for _ in foods]])]
  for _ in range(count):
    change = rng.random() < 0.6
    calls.append(
      ('change_rating', [rng.choice(foods), rng.randint(1, 20)])
      if change
      else ('highest_rated', [rng.choice(cuisines)])
    )
  return calls


PROBLEM = Problem(FoodRatings, Oracle, operations, {'change_rating': 'log n', 'highest_rated': 'log n'})
