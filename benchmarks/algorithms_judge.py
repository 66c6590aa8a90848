"""How long the judge takes: 500 cases of a 20 ms program, and what a run costs beside subprocess.

uv run python benchmarks/algorithms_judge.py
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

from mlsd_jax.algorithms.judge import Case, judge
from mlsd_jax.algorithms.languages import build, command
from mlsd_jax.algorithms.limits import Limits
from mlsd_jax.algorithms.pool import Pool

CASES = 500
PROGRAM = """
import time
while time.process_time() < 0.020: pass
print(int(input()) + 1)
"""


def main():
  cases = [Case(str(n), b'%d\n' % n, b'%d\n' % (n + 1)) for n in range(CASES)]
  with Pool() as pool, tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / 'program.py').write_text(PROGRAM)
    program = build(folder / 'program.py', folder / 'build', pool)
    began = time.perf_counter()
    report = judge(program, cases, pool=pool, limits=Limits(time=1))
    whole = time.perf_counter() - began
    cpu = sum(result.outcome.cpu for result in report.results)
    size = f'{CASES} cases of a program of {1000 * cpu / CASES:.1f} ms'
    print(f'{size}: {report.verdict} in {whole:.2f} s on {pool.size} processors')
    process = command(['true']).process(Limits(), name, None, os.devnull)
    began = time.perf_counter()
    for _ in range(200):
      pool.run(process)
    ours = (time.perf_counter() - began) / 200
  began = time.perf_counter()
  for _ in range(200):
    subprocess.run(['true'], check=True)
  theirs = (time.perf_counter() - began) / 200
  print(
    f'one run of `true`: judge {1000 * ours:.2f} ms, subprocess.run {1000 * theirs:.2f} ms, ratio {ours / theirs:.2f}'
  )
  sys.exit(report.verdict != 'AC')


if __name__ == '__main__':
  main()
