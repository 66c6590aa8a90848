"""A sign seen from behind.

A shop window shows a string of the letters p, q and w. What does one read who stands inside and sees it mirrored? p and
q change places, w stays. Input: t, then t strings."""

import sys


def solve(words):
  return next(words).decode()[::-1].translate(str.maketrans('pq', 'qp'))


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
