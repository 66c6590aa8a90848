"""Two bags alike.

A bag holds n numbers, n even, another is empty. A step takes a number from the first bag to the second, or adds one to
a number of the first bag that the second holds too. Can both bags come to hold the same numbers? Input: t, then t times
n and the numbers. Output: YES or NO."""

import sys


def solve(words):
  n = int(next(words))
  counts = [0] * (2 * n + 2)
  for _ in range(n):
    counts[int(next(words))] += 1
  for number in range(1, len(counts) - 1):  # two of each stay, the others can be raised
    if counts[number] == 1:
      return 'NO'
    if counts[number] > 2:
      counts[number + 1] += counts[number] - 2
  return 'YES'


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
