"""Users some at a time, over threads: numpy lets other threads run while it works on an array."""

import concurrent.futures
import os
from collections.abc import Callable

_TOGETHER = 128  # users: what becomes of them about fits a core's cache


def over_users[T](function: Callable[[slice], T], number: int) -> list[T]:
  """`function` of consecutive slices of `number` users, its results in that order."""
  slices = [slice(first, min(first + _TOGETHER, number)) for first in range(0, max(number, 1), _TOGETHER)]
  # The first alone: what is made once for all users (snapshot.once) is then made, and few users need no threads.
  results = [function(slices[0])]
  if len(slices) > 1:
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
      results += threads.map(function, slices[1:])
  return results
