"""Subsequences between a one and a three.

An array of ones, twos and threes. How many of its subsequences have at least three numbers, a smaller one before and a
greater one behind each inner number, and none such for the ends? (They are a one, twos, and a three.) Modulo 998244353.
Input: t, then t times n and the numbers."""

import sys


def solve(words):
  ones = open_ones = found = 0
  for _ in range(int(next(words))):
    number = next(words)
    if number == b'1':
      ones += 1
    elif number == b'2':  # what has begun goes on with it or without it, or a one before it begins
      open_ones = (2 * open_ones + ones) % 998_244_353
    else:
      found = (found + open_ones) % 998_244_353
  return found


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
