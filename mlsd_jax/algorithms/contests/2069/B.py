"""Strangers of one colour.

A grid has coloured cells. A step takes any set of cells of one colour, no two of them with a side in common, and paints
all of them in another colour. How few steps make the grid one colour? Input: t, then t times n m and the grid, colours
from 1 to n m."""

import sys


def solve(words):
  n, m = int(next(words)), int(next(words))
  grid = [[next(words) for _ in range(m)] for _ in range(n)]
  steps: dict[bytes, int] = {}
  for i, row in enumerate(grid):
    for j, colour in enumerate(row):
      touches = (i and grid[i - 1][j] == colour) or (j and row[j - 1] == colour)
      steps[colour] = max(steps.get(colour, 1), 2 if touches else 1)
  return sum(steps.values()) - max(steps.values())  # as on a chessboard, two sets hold all cells of a colour


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
