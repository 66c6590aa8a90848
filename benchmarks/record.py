"""What a benchmark measured, handed to `python -m benchmarks` as lines of a file.

A benchmark calls `pair` for each comparison that it prints. Run on its own, without the runner, that writes nothing.
"""

import json
import os
from collections.abc import Sequence

FILE = 'MLSD_BENCHMARK_RECORD'  # the environment variable that names the file


def pair(
  what: str,
  ours: Sequence[float],
  peer: Sequence[float],
  *,
  against: str,
  unit: str,
  more_is_better: bool = False,
  limit: float | None = None,
) -> None:
  """Records one comparison.

  Args:
    what: the quantity, such as 'training step, 124M'; unique within a benchmark.
    ours: our figure in each round, in `unit`.
    peer: the peer's in the same rounds: ours[i] and peer[i] were measured one after the other.
    against: the peer's name and form, such as 'torch compile bfloat16'.
    unit: of all figures, such as 'ms' or 'tokens/s'.
    more_is_better: False for times, True for rates.
    limit: what the machine's measured speed of products or of memory allows, in `unit`.
  """
  path = os.environ.get(FILE)
  if not path:
    return
  line = {
    'what': what,
    'ours': [float(x) for x in ours],
    'peer': [float(x) for x in peer],
    'against': against,
    'unit': unit,
    'more_is_better': more_is_better,
    'limit': limit,
  }
  with open(path, 'a') as file:
    file.write(json.dumps(line, allow_nan=False) + '\n')
