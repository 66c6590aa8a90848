"""Searching in texts: the Z and the prefix function, hashes of substrings, the suffix array with common prefixes."""

import itertools
from collections.abc import Sequence

MODULUS = (1 << 61) - 1


def z_function(text: Sequence) -> list[int]:
  """For each place, how long the text from there on agrees with the text's beginning; 0 at place 0. O(n)."""
  z, left, right = [0] * len(text), 0, 0
  for i in range(1, len(text)):
    if i < right:
      z[i] = min(right - i, z[i - left])
    while i + z[i] < len(text) and text[z[i]] == text[i + z[i]]:
      z[i] += 1
    if i + z[i] > right:
      left, right = i, i + z[i]
  return z


def prefix_function(text: Sequence) -> list[int]:
  """For each prefix the length of its longest proper prefix that is its suffix (Knuth, Morris, Pratt, 1977). O(n)."""
  border = [0] * len(text)
  for i in range(1, len(text)):
    length = border[i - 1]
    while length and text[i] != text[length]:
      length = border[length - 1]
    border[i] = length + (text[i] == text[length])
  return border


def find_all(pattern: str, text: str) -> list[int]:
  """Where a pattern, not empty, begins in a text. O(n)."""
  border, length, found = prefix_function(pattern), 0, []
  for i, letter in enumerate(text):
    while length and (length == len(pattern) or letter != pattern[length]):
      length = border[length - 1]
    length += letter == pattern[length]
    if length == len(pattern):
      found.append(i - length + 1)
  return found


class SubstringHash:
  """Hash of any substring in O(1): a polynomial modulo 2**61 - 1 at a base that should be drawn at random."""

  def __init__(self, text: str, base: int):
    self.value, self.power = [0], [1]
    for letter in text:
      self.value.append((self.value[-1] * base + ord(letter)) % MODULUS)
      self.power.append(self.power[-1] * base % MODULUS)

  def get(self, left: int, right: int) -> int:
    return (self.value[right] - self.value[left] * self.power[right - left]) % MODULUS


def suffix_array(text: str) -> list[int]:
  """The places in the order of the suffixes that begin there, by doubling. O(n log^2 n)."""
  count = len(text)
  rank = [ord(letter) for letter in text]
  order, width = list(range(count)), 1
  while True:
    key = [(rank[i], rank[i + width] if i + width < count else -1) for i in range(count)]
    order.sort(key=key.__getitem__)
    following = [0] * count
    for before, here in itertools.pairwise(order):
      following[here] = following[before] + (key[here] != key[before])
    rank = following
    width *= 2
    if not count or rank[order[-1]] == count - 1 or width >= 2 * count:
      return order


def common_prefixes(text: str, order: Sequence[int]) -> list[int]:
  """How long each suffix agrees with the next one of the suffix array (Kasai and others, 2001). O(n)."""
  place = [0] * len(text)
  for rank, start in enumerate(order):
    place[start] = rank
  lengths, agreed = [0] * max(0, len(text) - 1), 0
  for start in range(len(text)):
    if place[start] + 1 == len(text):
      agreed = 0
      continue
    other = order[place[start] + 1]
    while max(start, other) + agreed < len(text) and text[start + agreed] == text[other + agreed]:
      agreed += 1
    lengths[place[start]] = agreed
    agreed = max(0, agreed - 1)
  return lengths
