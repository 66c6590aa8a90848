"""The plural of a word.

A word ends in us. Write it with i in the place of us. Input: t, then t words.
"""

import sys


def solve(words):
  return next(words).decode().removesuffix('us') + 'i'


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
