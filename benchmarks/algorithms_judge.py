"""How long the judge takes: 500 cases of a 20 ms program, and what a run costs beside subprocess and bubblewrap.

    uv run python benchmarks/algorithms_judge.py

Processor time is that of the judge, its supervisors and the programs together: divided by the number of processors,
what the clock would say on a machine that does nothing else. The runs of `true` are taken in turns, and of each kind
the median is printed. bubblewrap (bwrap) is used where it is installed, with namespaces of its own, /usr read-only.
"""

import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import record

from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build, command
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.verdicts import Case

CASES, RUNS = 500, 200
BUBBLEWRAP = (
  *('bwrap', '--unshare-all', '--die-with-parent', '--new-session', '--clearenv'),
  *('--ro-bind', '/usr', '/usr', '--symlink', 'usr/bin', '/bin', '--symlink', 'usr/lib', '/lib'),
  *('--symlink', 'usr/lib64', '/lib64', '--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp'),
)
PROGRAM = """
import time
while time.process_time() < 0.020: pass
print(int(input()) + 1)
"""


WORK = """
total = 0
for i in range(1_000_000): total += i * i
print(total)
"""
REPEATS = 30


def spent():
  """Seconds on the clock, and of processor time of this process and of its children that have ended."""
  usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
  return time.perf_counter(), sum(each.ru_utime + each.ru_stime for each in usage)


def compare():
  process = command(['true']).process(Limits())
  with Pool(1) as pool:
    kinds = {'judge': lambda: pool.run(process), 'subprocess.run': lambda: subprocess.run(['true'], check=True)}
    if shutil.which('bwrap'):
      kinds['bubblewrap'] = lambda: subprocess.run([*BUBBLEWRAP, 'true'], check=True)
    else:
      print('bubblewrap is not installed, and left out')
    taken = {kind: [] for kind in kinds}
    for number in range(RUNS + 1):
      for kind, run in kinds.items():
        began = time.perf_counter()
        run()
        if number:  # the first starts a supervisor
          taken[kind].append(1000 * (time.perf_counter() - began))
  medians = {kind: statistics.median(each) for kind, each in taken.items()}
  print('one run of `true`, ms on the clock: ' + ', '.join(f'{kind} {each:.2f}' for kind, each in medians.items()))
  if 'bubblewrap' in taken:
    record.pair('a run of `true`', taken['judge'], taken['bubblewrap'], against='bubblewrap', unit='ms')


def spread():
  """What a program of fixed work takes by the clock and by its processor time, alone and beside busy neighbours."""
  neighbours = 2 * len(os.sched_getaffinity(0))
  with tempfile.TemporaryDirectory() as name, Pool(1) as pool:
    program = pathlib.Path(name, 'program.py')
    program.write_text(WORK)
    process = build(program, pathlib.Path(name, 'build'), pool).process(Limits(time=10))
    for beside in (0, neighbours):
      busy = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(beside)]
      clock, processor = [], []
      for _ in range(REPEATS):
        began = time.perf_counter()
        (outcome,) = pool.run(process)
        clock.append(1000 * (time.perf_counter() - began))
        processor.append(1000 * outcome.cpu)
      for each in busy:
        each.kill()
        each.wait()
      print(
        f'fixed work beside {beside} busy processes, {REPEATS} runs, median and largest: '
        f'{statistics.median(processor):.1f} and {max(processor):.1f} ms of processor time, '
        f'{statistics.median(clock):.1f} and {max(clock):.1f} on the clock'
      )


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
  compare()
  spread()
  sys.exit(report.verdict != 'AC')


if __name__ == '__main__':
  main()
