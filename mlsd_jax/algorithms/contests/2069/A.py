"""Was there an array?

Somebody noted for each inner place of an array whether its number equals both neighbours (1) or not (0). Can there be
such an array? Input: t, then t times n and n - 2 notes. Output: YES or NO."""

import sys


def solve(words):
  n = int(next(words))
  notes = b''.join(next(words) for _ in range(n - 2))
  return 'NO' if b'101' in notes else 'YES'


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
