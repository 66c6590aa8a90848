"""From ranked candidates to what is shown: pinned items, at most so many of a category, diversity, exploration.

Diversity is Maximal Marginal Relevance (Carbonell & Goldstein 1998): the next item has the greatest
(1 - d) relevance - d (similarity to the nearest that was chosen). Exploration gives each place, with a probability, to
an item of a pool, any of it alike, so that a log tells what would have come of showing others.

Names: N candidates, best first; k places; E items of the pool.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Settings:
  """How a slate is filled.

  Attributes:
    diversity: d, from 0 (relevance alone) to 1.
    explore: the probability with which a place is given to an item of the pool.
    at_most: places that items of a category may have, by its code.
  """

  diversity: float = 0.0
  explore: float = 0.0
  at_most: Mapping[int, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Slate:
  """What is shown, place by place.

  Attributes:
    items: [k] rows; fewer than asked for where no more pass.
    propensity: [k] the probability of that item at that place, given what stands before it; 1 for what is pinned.
    greedy: [k] what would stand there without exploration, -1 if nothing would.
    open: [k] bool, whether the place was exploration's to give away (not pinned, and the pool not used up).
  """

  items: np.ndarray
  propensity: np.ndarray
  greedy: np.ndarray
  open: np.ndarray


def fill(
  candidates: np.ndarray,
  logits: np.ndarray,
  vectors: np.ndarray,
  categories: np.ndarray,
  number: int,
  settings: Settings,
  *,
  pinned: np.ndarray,
  pool: np.ndarray,
  rng: np.random.Generator,
) -> Slate:
  """Places for `number` items.

  Args:
    candidates: [N] rows, best first, none of `pinned`.
    logits: [N], from which relevance is made: 0 for the least, 1 for the greatest.
    vectors: [I, W] of all items, whose cosine is the similarity.
    categories: [I] codes.
    pinned: rows that stand first.
    pool: [E] rows that exploration draws from, none of `pinned`.
  """
  greedy = _Greedy(candidates, logits, vectors, settings.diversity)
  left = dict(settings.at_most)
  pool = np.unique(pool)
  items, chances, best, is_open = [], [], [], []
  for place in range(number):
    if place < len(pinned):
      item = int(pinned[place])
      items.append(item)
      chances.append(1.0)
      best.append(item)
      is_open.append(False)
    else:
      full = [code for code, most in left.items() if most <= 0]
      allowed = ~np.isin(categories[candidates], full)
      first = greedy.next(allowed)
      drawn_from = pool[~np.isin(pool, items) & ~np.isin(categories[pool], full)]
      explore = settings.explore if len(drawn_from) else 0.0
      if first < 0 and not explore:
        break
      item = first
      if explore and (first < 0 or rng.random() < explore):
        item = int(rng.choice(drawn_from))
      share = 1.0 if first < 0 else explore
      chance = share / len(drawn_from) if item in drawn_from and explore else 0.0
      items.append(item)
      chances.append(chance + (1 - share) * (item == first))
      best.append(first)
      is_open.append(bool(explore))
    greedy.take(item)
    code = int(categories[item])
    if code in left:
      left[code] -= 1
  return Slate(np.array(items, np.int64), np.array(chances), np.array(best, np.int64), np.array(is_open, bool))


class _Greedy:
  """The next best of candidates, in O(N) a place: similarity to the nearest chosen one is kept, not computed anew."""

  def __init__(self, candidates: np.ndarray, logits: np.ndarray, vectors: np.ndarray, diversity: float):
    self._candidates, self._diversity, self._all = candidates, diversity, vectors
    spread = float(logits.max() - logits.min()) if len(logits) else 0.0
    self._relevance = (logits - logits.min()) / spread if spread else np.ones(len(logits))
    self._there = np.ones(len(candidates), bool)
    if diversity:
      mine = vectors[candidates]
      self._unit = mine / np.maximum(np.linalg.norm(mine, axis=1, keepdims=True), 1e-12)
      self._nearest = np.full(len(candidates), -np.inf)

  def next(self, allowed: np.ndarray) -> int:
    passes = self._there & allowed
    if not passes.any():
      return -1
    value = self._relevance
    if self._diversity:
      alike = np.where(np.isfinite(self._nearest), self._nearest, 0.0)
      value = (1 - self._diversity) * value - self._diversity * alike
    return int(self._candidates[np.argmax(np.where(passes, value, -np.inf))])

  def take(self, item: int) -> None:
    self._there &= self._candidates != item
    if self._diversity:
      vector = self._all[item]
      cosine = self._unit @ (vector / max(float(np.linalg.norm(vector)), 1e-12))
      self._nearest = np.maximum(self._nearest, cosine)
