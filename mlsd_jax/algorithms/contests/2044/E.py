"""Pairs with a power between them.

How many ordered pairs x in [l1, r1], y in [l2, r2] have y = x k**n for some integer n >= 0? Input: t, then t lines k l1
r1 l2 r2, k >= 2."""

import sys


def solve(words):
  k, l1, r1, l2, r2 = (int(next(words)) for _ in range(5))
  pairs, power = 0, 1
  while l1 * power <= r2:
    low, high = max(l1, -(-l2 // power)), min(r1, r2 // power)
    pairs += max(0, high - low + 1)
    power *= k
  return pairs


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
