"""Digit sums of neighbours.

Is there a positive n whose digits add up to x while those of n + 1 add up to y? Input: t, then t lines x y. Output: Yes
or No."""

import sys


def solve(words):
  x, y = int(next(words)), int(next(words))
  # Each 9 at the end of n becomes a 0, and the digit before it grows by one.
  return 'Yes' if x + 1 >= y and (x + 1 - y) % 9 == 0 else 'No'


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
