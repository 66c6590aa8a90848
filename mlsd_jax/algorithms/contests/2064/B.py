"""Fewer, and each once.

The score of an array is its length less the number of different numbers in it. One stretch may be taken out, or
nothing, so that the score is as high as can be, and the array then as short as can be. Answer the ends of the stretch,
from 1, of several the first, or 0 for nothing. Input: t, then t times n and the numbers."""

import sys


def solve(words):
  n = int(next(words))
  numbers = [next(words) for _ in range(n)]
  counts: dict[bytes, int] = {}
  for number in numbers:
    counts[number] = counts.get(number, 0) + 1
  best, begin = (0, 0), 0
  for end, number in enumerate(numbers):
    if counts[number] > 1:
      begin = end + 1
    elif end - begin + 1 > best[0]:
      best = (end - begin + 1, begin)
  length, begin = best
  return f'{begin + 1} {begin + length}' if length else 0


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
