"""An array whose modes are given.

Of b each prefix b_1 ... b_i is to have a_i as a mode: no number occurs in it more often. Find such a b of numbers
from 1 to n. Input: t, then t times n and the a, also from 1 to n. Output: b, any that fits."""

import sys


def solve(words):
  n = int(next(words))
  modes = [int(next(words)) for _ in range(n)]
  # Each number once: then all that occur are modes. A mode that has come already leaves its place to a number that
  # is none at all, and there are enough of those.
  others = iter(sorted(set(range(1, n + 1)).difference(modes)))
  seen, made = set(), []
  for mode in modes:
    made.append(next(others) if mode in seen else mode)
    seen.add(mode)
  return ' '.join(map(str, made))


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(solve(words) for _ in range(int(next(words)))))


main()
