"""Mo's algorithm: answers about ranges that one step wider or narrower follows from. O((n + q) sqrt n) steps."""

import math
from collections.abc import Callable, Sequence


def mo(
  length: int,
  queries: Sequence[tuple[int, int]],
  add: Callable[[int], None],
  remove: Callable[[int], None],
  answer: Callable[[], int],
) -> list[int]:
  """The answers to queries (left, right) about the places left to right - 1, in the order of the queries.

  Args:
    add: takes a place in, at either end.
    remove: takes one out, at either end.
    answer: about the places that are in.
  """
  block = max(1, math.isqrt(length * length // max(1, len(queries))))
  # Right ends go up in one block and down in the next, so that they need not travel back.
  key = lambda i: (queries[i][0] // block, queries[i][1] if queries[i][0] // block % 2 == 0 else -queries[i][1])
  left = right = 0
  answers = [0] * len(queries)
  for number in sorted(range(len(queries)), key=key):
    start, end = queries[number]
    while left > start:
      left -= 1
      add(left)
    while right < end:
      add(right)
      right += 1
    while left < start:
      remove(left)
      left += 1
    while right > end:
      right -= 1
      remove(right)
    answers[number] = answer()
  return answers


def distinct_in_ranges(values: Sequence[int], queries: Sequence[tuple[int, int]]) -> list[int]:
  """How many different values each range has."""
  counts: dict[int, int] = {}

  def add(place: int) -> None:
    counts[values[place]] = counts.get(values[place], 0) + 1

  def remove(place: int) -> None:
    counts[values[place]] -= 1
    if not counts[values[place]]:
      del counts[values[place]]

  return mo(len(values), queries, add, remove, lambda: len(counts))
