"""N-grams with a budget of skips.

`add(word)` appends a word to a text. `grams(n, skips)` answers all sequences of n of its words, in their order,
between whose first and last at most `skips` words are left out, in the order of the places of their words; `last(n,
skips)` only those that end with the latest word. n is 1 or more, skips 0 or more: 0 are the usual n-grams. (Guthrie
et al., A Closer Look at Skip-gram Modelling, 2006.)"""

import itertools
import random

from mlsd_jax.algorithms.problem import Call, Problem


class SkipGrams:
  """A first word, then a choice of the words in the window that the budget leaves."""

  def __init__(self):
    self.words: list[str] = []

  def add(self, word: str) -> None:
    self.words.append(word)

  def grams(self, n: int, skips: int) -> list[list[str]]:
    found = []
    for place in range(len(self.words) - n + 1):
      window = self.words[place + 1 : place + n + skips]
      found += [[self.words[place], *rest] for rest in itertools.combinations(window, n - 1)]
    return found

  def last(self, n: int, skips: int) -> list[list[str]]:
    if len(self.words) < n:
      return []
    end = len(self.words) - 1
    window = self.words[max(0, end - n - skips + 1) : end]
    return [[*rest, self.words[end]] for rest in itertools.combinations(window, n - 1)]


class Oracle:
  """Tries every choice of places."""

  def __init__(self):
    self.words = []

  def add(self, word):
    self.words.append(word)

  def _places(self, n, skips):
    every = itertools.combinations(range(len(self.words)), n)
    return [places for places in every if places[-1] - places[0] - (n - 1) <= skips]

  def grams(self, n, skips):
    return [[self.words[place] for place in places] for places in self._places(n, skips)]

  def last(self, n, skips):
    end = len(self.words) - 1
    return [[self.words[place] for place in places] for places in self._places(n, skips) if places[-1] == end]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  calls: list[Call] = [('SkipGrams', [])]
  words = min(size, count // 2)
  asked = count - words if size <= 12 else min(count - words, 20)
  order = ['add'] * words + ['ask'] * asked
  if size <= 40:
    rng.shuffle(order)
  for what in order:
    if what == 'add':
      calls.append(('add', [rng.choice('abcde')]))
    else:
      asks = [rng.randint(1, 3), rng.randint(0, 2)] if size <= 40 else [2, 1]  # the same, where cost is measured
      calls.append((rng.choice(('grams', 'last')), asks))
  return calls


PROBLEM = Problem(SkipGrams, Oracle, operations, {'add': '1', 'grams': 'n', 'last': '1'}, sizes=(128, 512, 2048))
