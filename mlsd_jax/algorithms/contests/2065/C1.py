"""In order, with one number to subtract from.

Each number a_i may be replaced once by b - a_i. Can the array be brought into order (no number smaller than the one
before)? Input: t, then t times n and 1, the a, and b. Output: YES or NO."""

import sys


def solve(words):
  n, _ = int(next(words)), next(words)
  numbers = [int(next(words)) for _ in range(n)]
  other = int(next(words))
  last = float('-inf')
  for number in numbers:  # the smallest that is not below the last one leaves the most room
    options = [each for each in (number, other - number) if each >= last]
    if not options:
      return 'NO'
    last = min(options)
  return 'YES'


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
