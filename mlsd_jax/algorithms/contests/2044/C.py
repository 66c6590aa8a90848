"""Two rows of seats.

Two rows have m seats each. a people sit in the first row only, b in the second row only, c in either. How many can be
seated? Input: t, then t lines m a b c."""

import sys


def solve(words):
  m, a, b, c = (int(next(words)) for _ in range(4))
  seated = min(a, m) + min(b, m)
  return seated + min(c, 2 * m - seated)


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
