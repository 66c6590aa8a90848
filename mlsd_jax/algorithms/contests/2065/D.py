"""Arrays one behind the other.

n arrays of m numbers each are put one behind the other, in an order of one's choice. What is the greatest sum of all
prefix sums of the long array? Input: t, then t times n m and n lines of m numbers."""

import sys


def solve(words):
  n, m = int(next(words)), int(next(words))
  arrays = sorted(([int(next(words)) for _ in range(m)] for _ in range(n)), key=sum, reverse=True)
  total = prefix = 0
  for array in arrays:
    for number in array:
      prefix += number
      total += prefix
  return total


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
