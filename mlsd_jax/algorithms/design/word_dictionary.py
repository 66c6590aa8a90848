"""Words with unknown letters.

`add_word(word)` adds a word of one letter or more; `search(pattern)` answers whether a word matches, where '.' in the
pattern stands for any letter. A search follows as many branches as its dots allow, whatever the number of words.
"""

import random
from typing import Any

from mlsd_jax.algorithms.problem import Call, Problem

_END = ''


class WordDictionary:
  """A trie of dictionaries."""

  def __init__(self):
    self.root: dict[str, Any] = {}

  def add_word(self, word: str) -> None:
    node = self.root
    for letter in word:
      node = node.setdefault(letter, {})
    node[_END] = {}

  def search(self, pattern: str) -> bool:
    nodes = [self.root]
    for letter in pattern:
      if letter == '.':
        nodes = [child for node in nodes for each, child in node.items() if each != _END]
      else:
        nodes = [node[letter] for node in nodes if letter in node]
    return any(_END in node for node in nodes)


class Oracle:
  """Compares with every word."""

  def __init__(self):
    self.words = set()

  def add_word(self, word):
    self.words.add(word)

  def search(self, pattern):
    if '.' not in pattern:
      return pattern in self.words
    match = lambda word: all(mine in ('.', letter) for mine, letter in zip(pattern, word, strict=True))
    return any(len(word) == len(pattern) and match(word) for word in self.words)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  letters = 'abcdefghijklmnopqrstuvwxyz'[: 2 + size.bit_length()]
  word = lambda: ''.join(rng.choices(letters, k=6 if size > 50 else rng.randint(1, 4)))
  calls: list[Call] = [('WordDictionary', [])]
  known: list[str] = []
  for _ in range(count):
    if rng.random() < 0.5 or not known:
      if len(known) < size:
        known.append(word())
      calls.append(('add_word', [rng.choice(known[-1:] + known)]))
    else:
      letters_ = list(rng.choice(known) if rng.random() < 0.6 else word())
      for _ in range(rng.choice((0, 0, 1))):
        letters_[rng.randrange(len(letters_))] = '.'
      calls.append(('search', [''.join(letters_)]))
  return calls


PROBLEM = Problem(WordDictionary, Oracle, operations, {'add_word': '1', 'search': '1'})
