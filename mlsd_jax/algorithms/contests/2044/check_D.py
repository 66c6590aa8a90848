"""Checker of D, by Kattis's convention: any array will do whose prefixes have the modes that were asked for."""

import collections
import pathlib
import sys

RIGHT, WRONG = 42, 43


def fault(asked, given):
  """What is wrong with one answer; '' when nothing is."""
  counts: collections.Counter[int] = collections.Counter()
  most = 0
  for place, (mode, number) in enumerate(zip(asked, given, strict=True), 1):
    if not 1 <= number <= len(asked):
      return f'number {place} is {number}, not from 1 to {len(asked)}'
    counts[number] += 1
    most = max(most, counts[number])
    if counts[mode] < most:
      return f'{mode} is no mode of the first {place} numbers'
  return ''


def main():
  words = iter(map(int, pathlib.Path(sys.argv[1]).read_text().split()))
  try:
    answers = iter(list(map(int, sys.stdin.read().split())))
    for case in range(1, next(words) + 1):
      asked = [next(words) for _ in range(next(words))]
      problem = fault(asked, [next(answers) for _ in asked])
      if problem:
        return f'case {case}: {problem}'
    return 'more numbers than are asked for' if next(answers, None) is not None else ''
  except (ValueError, StopIteration, RuntimeError):
    return 'numbers are missing, or something else is there'


said = main()
pathlib.Path(sys.argv[3], 'judgemessage.txt').write_text(said)
sys.exit(WRONG if said else RIGHT)
