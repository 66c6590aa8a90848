"""Zeros here, ones there.

One string of n zeros and ones, and an empty one. A step cuts the end, of any length, off one string and puts it behind
the other. How few steps leave only zeros in the first and only ones in the second? Input: t, then t times n and the
string."""

import sys


def solve(words):
  next(words)
  row = b'0' + next(words)
  return sum(row[i] != row[i + 1] for i in range(len(row) - 1))  # every change is between two strings in the end


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
