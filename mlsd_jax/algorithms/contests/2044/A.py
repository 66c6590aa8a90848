"""Pairs that add up.

For each n, how many ordered pairs of positive integers a, b have a = n - b? Input: t, then t lines with n >= 2.
"""

import sys


def solve(words):
  return int(next(words)) - 1


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
