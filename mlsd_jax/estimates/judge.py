"""A judge of programs on paper: submissions a second, workers, queues, what a contest's last minute costs.

Workers by Little's law (runs under way = runs a second x seconds each), waiting by Erlang's C formula for M/M/c.
"""

import dataclasses
import math

from mlsd_jax.estimates.table import Group, Row

_MANY = 100_000  # servers
CAGE_SECONDS = 0.0058  # of processor time that a run costs the judge (benchmarks/algorithms_judge.py)


@dataclasses.dataclass(frozen=True)
class Load:
  """A contest.

  Attributes:
    contestants: taking part.
    submissions: of each.
    duration: seconds of the contest.
    peak: the busiest minute over the mean one.
    cases: of a problem.
    case_seconds: of processor time a case.
    output_bytes: kept of a submission.
    utilisation: share of the time that workers are to be busy at the peak.
  """

  contestants: float
  submissions: float
  duration: float
  peak: float
  cases: int
  case_seconds: float
  output_bytes: float
  utilisation: float


def workers(rate: float, seconds: float, utilisation: float) -> int:
  """Cores for `rate` submissions a second of `seconds` each: rate x seconds / utilisation, rounded up."""
  return max(1, math.ceil(rate * seconds / utilisation - 1e-9))


def waiting_share(offered: float, servers: int) -> float:
  """Erlang C: the share of those who find all `servers` busy, `offered` = rate x seconds below servers."""
  if offered >= servers:
    return 1.0
  if servers > _MANY:  # the limit for many servers (Halfin and Whitt, 1981), in place of as many steps
    spare = (servers - offered) / math.sqrt(offered)
    density = math.exp(-(min(spare, 30.0) ** 2) / 2) / math.sqrt(2 * math.pi)
    return density / (density + spare * math.erfc(-spare / math.sqrt(2)) / 2)
  # Erlang B by its recursion, which neither overflows nor cancels; C follows from it.
  blocked = 1.0
  for n in range(1, servers + 1):
    blocked = offered * blocked / (n + offered * blocked)
  return blocked / (1.0 - offered / servers * (1.0 - blocked))


def estimate(load: Load) -> list[Group]:
  """Everything about a contest's judge, in groups to print."""
  mean = load.contestants * load.submissions / load.duration
  rate = mean * load.peak
  seconds = load.cases * (load.case_seconds + CAGE_SECONDS)
  needed = workers(rate, seconds, load.utilisation)
  offered = rate * seconds
  wait = waiting_share(offered, needed) * seconds / max(needed - offered, 1e-9)
  backlog = max(rate - needed / 2 / seconds, 0.0) * 600
  return [
    Group(
      'load',
      (
        Row('submissions', load.contestants * load.submissions, 'count', 'contestants x submissions'),
        Row('submissions/s', mean, 'count', 'submissions / duration'),
        Row('at the peak', rate, 'count', f'x {load.peak:g}'),
        Row('runs a second', rate * load.cases, 'count', 'submissions/s x cases'),
      ),
    ),
    Group(
      'workers',
      (
        Row('a submission', seconds, 'seconds', f'cases x (seconds a case + {CAGE_SECONDS * 1e3:g} ms of the cage)'),
        Row('cores at the peak', needed, 'count', f'submissions/s x seconds / {load.utilisation:g}'),
        Row('cores at the mean', workers(mean, seconds, load.utilisation), 'count', 'what autoscaling goes back to'),
        Row('who waits', waiting_share(offered, needed), 'share', "Erlang's C formula"),
        Row('mean wait', wait, 'seconds', 'C x seconds / (cores - load)'),
        Row('backlog of 10 minutes', backlog, 'count', 'submissions that half of the cores would leave waiting'),
        Row(
          'verdicts kept', load.contestants * load.submissions * load.output_bytes, 'bytes', 'submissions x bytes kept'
        ),
      ),
      (f'processor time bounds it: {load.case_seconds / (load.case_seconds + CAGE_SECONDS):.0%} of it the programs',),
    ),
  ]
