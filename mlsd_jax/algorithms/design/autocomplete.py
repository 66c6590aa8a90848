"""Search autocomplete.

`AutocompleteSystem(sentences, times)` knows sentences of letters and how often each was typed, 0 or more (one that is
named twice, both added). `input(character)` takes a
character of the sentence that is being typed and answers the three sentences that begin so and were typed most, equal
ones in alphabetical order. '#' ends the sentence, which counts as typed once more; the answer is then empty."""

import random

from mlsd_jax.algorithms.problem import Call, Problem

SHOWN = 3


class _Node:
  __slots__ = ('best', 'children')

  def __init__(self):
    self.children: dict[str, _Node] = {}
    self.best: list[str] = []  # the sentences to show for this prefix


class AutocompleteSystem:
  """A trie in which every prefix keeps its three sentences: a count only grows, so no other can come to the fore."""

  def __init__(self, sentences: list[str], times: list[int]):
    self.times: dict[str, int] = {}
    self.root = _Node()
    self.here: _Node | None = self.root
    self.typed: list[str] = []
    for sentence, count in zip(sentences, times, strict=True):
      self._add(sentence, count)

  def input(self, character: str) -> list[str]:
    if character == '#':
      self._add(''.join(self.typed), 1)
      self.typed, self.here = [], self.root
      return []
    self.typed.append(character)
    self.here = self.here.children.get(character) if self.here else None
    return list(self.here.best) if self.here else []

  def _add(self, sentence: str, count: int) -> None:
    self.times[sentence] = self.times.get(sentence, 0) + count
    node = self.root
    for character in sentence:
      node = node.children.setdefault(character, _Node())
      if sentence not in node.best:
        node.best.append(sentence)
      node.best.sort(key=lambda each: (-self.times[each], each))
      del node.best[SHOWN:]


class Oracle:
  """Sorts all sentences at every character."""

  def __init__(self, sentences, times):
    self.typed = ''
    self.times: dict[str, int] = {}
    for sentence, count in zip(sentences, times, strict=True):
      self.times[sentence] = self.times.get(sentence, 0) + count

  def input(self, character):
    if character == '#':
      self.times[self.typed] = self.times.get(self.typed, 0) + 1
      self.typed = ''
      return []
    self.typed += character
    found = [each for each in self.times if each.startswith(self.typed)]
    return sorted(found, key=lambda each: (-self.times[each], each))[:3]


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  letters = 'abcdefgh'[: 2 + size.bit_length() // 2]
  sentence = lambda: ''.join(rng.choices(letters, k=rng.randint(6, 8)))
  sentences = sorted({sentence() for _ in range(size)})
  calls: list[Call] = [('AutocompleteSystem', [sentences, [rng.randint(1, 9) for _ in sentences]])]
  while len(calls) <= count:
    typed = rng.choice(sentences) if rng.random() < 0.5 else sentence()
    calls += [('input', [character]) for character in typed + '#']
  return calls[: count + 1]


PROBLEM = Problem(AutocompleteSystem, Oracle, operations, {'input': '1'})
