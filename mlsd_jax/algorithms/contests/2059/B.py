"""The price of a cut.

An array of n numbers is cut into k pieces that are not empty, k even. The pieces number 2, 4, ... are put together to
one array, with a 0 behind it. Its price is the first place i (from 1) whose number is not i. How low can the price be?
Input: t, then t times n k and the numbers."""

import sys


def solve(words):
  n, k = int(next(words)), int(next(words))
  a = [int(next(words)) for _ in range(n)]
  if n == k:  # every piece is one number
    even = [*a[1::2], 0]
    return next(i for i, number in enumerate(even, 1) if number != i)
  # The second piece may begin anywhere from the second number on that leaves enough for the rest.
  return 1 if any(number != 1 for number in a[1 : n - k + 2]) else 2


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
