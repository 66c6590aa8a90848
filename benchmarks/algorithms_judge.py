"""How long the judge takes: 500 cases of a 20 ms program, and what a run costs beside subprocess.

    uv run python benchmarks/algorithms_judge.py

Processor time is that of the judge, its supervisors and the programs together: divided by the number of processors,
what the clock would say on a machine that does nothing else.
"""

import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build, command
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.verdicts import Case

CASES, RUNS = 500, 200
PROGRAM = """
import time
while time.process_time() < 0.020: pass
print(int(input()) + 1)
"""


def spent():
  """Seconds on the clock, and of processor time of this process and of its children that have ended."""
  usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
  return time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in usage)


def main():
  cases = [Case(str(n), b'%d\n' % n, b'%d\n' % (n + 1)) for n in range(CASES)]
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / 'program.py').write_text(PROGRAM)
    began = spent()
    with Pool() as pool:
      program = build(folder / 'program.py', folder / 'build', pool)
      report = judge(program, cases, pool=pool, limits=Limits(time=1))
    clock, processor = (after - before for before, after in zip(began, spent(), strict=True))
    own = sum(result.outcome.cpu for result in report.results)
    print(f'{CASES} cases of a program of {1000 * own / CASES:.1f} ms on {pool.size} processors: {report.verdict}')
    print(f'  {clock:.2f} s on the clock, {processor:.2f} s of processor time ({own:.2f} s of it the programs)')
    process = command(['true']).process(Limits())
    began = spent()
    with Pool(1) as pool:
      for _ in range(RUNS):
        pool.run(process)
    ours = [1000 * (after - before) / RUNS for before, after in zip(began, spent(), strict=True)]
  began = spent()
  for _ in range(RUNS):
    subprocess.run(['true'], check=True)
  theirs = [1000 * (after - before) / RUNS for before, after in zip(began, spent(), strict=True)]
  for what, mine, other in zip(('on the clock', 'of processor time'), ours, theirs, strict=True):
    print(f'one run of `true`, ms {what}: judge {mine:.2f}, subprocess.run {other:.2f}, ratio {mine / other:.2f}')
  sys.exit(report.verdict != 'AC')


if __name__ == '__main__':
  main()
