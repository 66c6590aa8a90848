"""Many words in one text at once (Aho and Corasick, 1975). O(text + words + found)."""

from collections import deque
from collections.abc import Iterator, Sequence


class AhoCorasick:
  """A trie of the words in which every node knows the longest of its proper suffixes that is in it."""

  def __init__(self, words: Sequence[str]):
    self.words = list(words)
    self.children: list[dict[str, int]] = [{}]
    self.ending: list[list[int]] = [[]]
    for number, word in enumerate(words):
      node = 0
      for letter in word:
        if letter not in self.children[node]:
          self.children[node][letter] = len(self.children)
          self.children.append({})
          self.ending.append([])
        node = self.children[node][letter]
      self.ending[node].append(number)
    self.suffix = [0] * len(self.children)
    self.shorter = [0] * len(self.children)  # the longest proper suffix at which a word ends
    queue = deque(self.children[0].values())
    while queue:
      node = queue.popleft()
      for letter, child in self.children[node].items():
        self.suffix[child] = self._step(self.suffix[node], letter)
        queue.append(child)
      above = self.suffix[node]
      self.shorter[node] = above if self.ending[above] else self.shorter[above]

  def _step(self, node: int, letter: str) -> int:
    while node and letter not in self.children[node]:
      node = self.suffix[node]
    return self.children[node].get(letter, 0)

  def find(self, text: str) -> Iterator[tuple[int, int]]:
    """(start, number of the word) of everything found, by where it ends."""
    node = 0
    for end, letter in enumerate(text, 1):
      node = self._step(node, letter)
      here = node
      while here:
        for number in self.ending[here]:
          yield end - len(self.words[number]), number
        here = self.shorter[here]
