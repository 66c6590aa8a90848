"""Fast input: the whole of standard input at once, its words one by one."""

import sys
from collections.abc import Iterator


class Words:
  """The words of an input, read in one go: about ten times as fast as input().split() line by line."""

  def __init__(self, data: bytes | None = None):
    self._words: Iterator[bytes] = iter((sys.stdin.buffer.read() if data is None else data).split())

  def integer(self) -> int:
    return int(next(self._words))

  def integers(self, count: int) -> list[int]:
    words = self._words
    return [int(next(words)) for _ in range(count)]

  def text(self) -> str:
    return next(self._words).decode()

  def grid(self, rows: int, columns: int) -> list[list[int]]:
    return [self.integers(columns) for _ in range(rows)]
