"""Words at the end of a stream.

`StreamChecker(words)`: `query(letter)` takes the next letter of a stream and answers whether the stream now ends in one
of the words, each of one letter or more."""

import random
from collections import deque

from mlsd_jax.algorithms.problem import Call, Problem


class StreamChecker:
  """The Aho-Corasick automaton (Aho and Corasick, 1975), its transitions worked out when first wanted. Amortised."""

  def __init__(self, words: list[str]):
    self.children: list[dict[str, int]] = [{}]
    self.ends = [False]
    for word in words:
      node = 0
      for letter in word:
        if letter not in self.children[node]:
          self.children[node][letter] = len(self.children)
          self.children.append({})
          self.ends.append(False)
        node = self.children[node][letter]
      self.ends[node] = True
    self.shorter = [0] * len(self.children)  # the longest proper suffix that is in the trie
    order = deque(self.children[0].values())
    while order:
      node = order.popleft()
      for letter, child in self.children[node].items():
        self.shorter[child] = self._step(self.shorter[node], letter)
        self.ends[child] |= self.ends[self.shorter[child]]
        order.append(child)
    self.state = 0

  def _step(self, node: int, letter: str) -> int:
    while node and letter not in self.children[node]:
      node = self.shorter[node]
    return self.children[node].get(letter, 0)

  def query(self, letter: str) -> bool:
    self.state = self._step(self.state, letter)
    return self.ends[self.state]


class Oracle:
  """Tries every word."""

  def __init__(self, words):
    self.words, self.text = words, ''
    self.longest = max(map(len, words), default=0)

  def query(self, letter):
    self.text = (self.text + letter)[-self.longest :]
    return any(self.text.endswith(word) for word in self.words)


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  words = [''.join(rng.choices('ab', k=rng.randint(1 + size.bit_length() // 2, 8))) for _ in range(size)]
  return [('StreamChecker', [words]), *(('query', [rng.choice('aab')]) for _ in range(count))]


PROBLEM = Problem(StreamChecker, Oracle, operations, {'query': '1'})
