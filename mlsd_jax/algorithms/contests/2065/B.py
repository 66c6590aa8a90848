"""Shortened pair by pair.

Of a word two equal neighbours may be replaced by any one letter, again and again. How short can it become? Input: t,
then t words."""

import sys


def solve(words):
  word = next(words)
  return 1 if any(word[i] == word[i + 1] for i in range(len(word) - 1)) else len(word)


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
