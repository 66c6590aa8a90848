"""Where the time of a compiled call went: each operation's share of the wall time, from a profiler trace of a CPU.

XLA's threads run several operations at once, and one operation on several threads. An instant belongs in equal parts to
all operations that run then; so the shares add up to the time of the call, with what was spent while none ran.
"""

import collections
import pathlib
import warnings
from collections.abc import Iterable, Mapping
from typing import NamedTuple

NOTHING = ''  # stands for instants at which no operation ran


class Span(NamedTuple):
  """An operation as it ran once: its name in the program, nanoseconds of its begin and end."""

  name: str
  begin: float
  end: float


def read_spans(folder: str | pathlib.Path) -> list[Span]:
  """The operations that the newest trace below `folder` (jax.profiler) holds.

  An operation that is handed to several threads returns at once; the event 'end: NAME' says when the last of them was
  through. Both carry the number of the operation's run.
  """
  import jax

  path = max(pathlib.Path(folder).rglob('*.xplane.pb'), key=lambda each: each.stat().st_mtime)
  begun: list[tuple[str, float, float, int | None]] = []
  ended: dict[int, float] = {}
  with warnings.catch_warnings():
    warnings.simplefilter('ignore', DeprecationWarning)  # of the binding's own types
    for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
      if plane.name != '/host:CPU':
        continue
      for line in plane.lines:
        for event in line.events:
          if event.name.startswith('end: '):
            number = dict(event.stats).get('_c')
            if number is not None:
              ended[number] = event.start_ns
            continue
          stats = dict(event.stats)
          if 'hlo_op' in stats:
            name = stats['hlo_op'].partition('__onednn$')[0]  # to whose name in the program XLA adds its own
            begun.append((name, event.start_ns, event.start_ns + event.duration_ns, stats.get('_p')))
  return [Span(name, begin, max(end, ended.get(number, end))) for name, begin, end, number in begun]


def share_out(spans: Iterable[Span], skip: Iterable[str] = ()) -> dict[str, float]:
  """Seconds of each operation, NOTHING for the time between the first and the last in which none ran.

  Args:
    skip: operations that only hold others, such as loops.
  """
  skipped = set(skip)
  changes = [
    (time, change, span.name)
    for span in spans
    if span.name not in skipped
    for time, change in ((span.begin, 1), (span.end, -1))
  ]
  seconds: dict[str, float] = collections.defaultdict(float)
  running: dict[str, int] = collections.defaultdict(int)
  total, last = 0, None
  for time, change, name in sorted(changes, key=lambda each: (each[0], each[1])):
    if last is not None and time > last:
      passed = (time - last) / 1e9
      if not total:
        seconds[NOTHING] += passed
      for other, number in running.items():
        seconds[other] += passed * number / total
    last = time
    running[name] += change
    total += change
    if not running[name]:
      del running[name]
  return dict(seconds)


def times_run(spans: Iterable[Span]) -> Mapping[str, int]:
  """How often each operation ran."""
  return collections.Counter(span.name for span in spans)
