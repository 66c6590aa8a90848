"""Cutting from both ends.

A step picks any number of an array that has no zeros and gains its absolute value. A positive number is then taken out
with all before it, a negative one with all behind it, until nothing is left. What is the most that can be gained?
Input: t, then t times n and the numbers."""

import sys


def solve(words):
  n = int(next(words))
  numbers = [int(next(words)) for _ in range(n)]
  behind = -sum(number for number in numbers if number < 0)
  best = behind
  before = 0
  for number in numbers:  # positive ones are taken up to a place, negative ones from it on
    if number > 0:
      before += number
    else:
      behind += number
    best = max(best, before + behind + (-number if number < 0 else 0))
  return best


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
