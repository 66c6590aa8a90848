"""Queues that are emptied.

At moment j a_ij people join queue i, for n queues and n moments; after each moment one queue, of our choice, is
emptied. How large can the smallest number be that is not the length of any queue at the end? Input: t, then t times
n and n lines of n numbers, at least 1. Output: that number."""

import sys


def solve(words):
  n = int(next(words))
  # To end with k people a queue must be emptied k moments before the end, and one person must join at each of them.
  ends = []
  for _ in range(n):
    row = [next(words) for _ in range(n)]
    ones = 0
    while ones < n - 1 and row[n - 1 - ones] == b'1':
      ones += 1
    ends.append(ones)
  length = 0
  for ones in sorted(ends):
    length += ones >= length
  return length


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
