"""In order, with many numbers to subtract from.

Each number a_i may be replaced once by b_j - a_i, with any j. Can the array be brought into order (no number smaller
than the one before)? Input: t, then t times n m, the a, the b. Output: YES or NO."""

import bisect
import sys


def solve(words):
  n, m = int(next(words)), int(next(words))
  numbers = [int(next(words)) for _ in range(n)]
  others = sorted(int(next(words)) for _ in range(m))
  last = float('-inf')
  for number in numbers:  # the smallest that is not below the last one leaves the most room
    place = bisect.bisect_left(others, last + number)
    options = [others[place] - number] if place < m else []
    if number >= last:
      options.append(number)
    if not options:
      return 'NO'
    last = min(options)
  return 'YES'


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
