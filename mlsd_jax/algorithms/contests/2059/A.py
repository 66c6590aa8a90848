"""Two arrays, three sums.

In each of two arrays of n numbers every number that occurs, occurs at least twice. Can one of them be shuffled so that
the sums a_i + b_i take three different values or more? Input: t, then t times n, the a, the b. Output: YES or NO."""

import sys


def solve(words):
  n = int(next(words))
  a, b = ({next(words) for _ in range(n)} for _ in range(2))
  return 'YES' if len(a) + len(b) >= 4 else 'NO'


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
