"""Seconds from typing the quickstart's command to its first finished dispatch, cold and with caches.

    python benchmarks/startup.py

Cold: an empty cache folder, so the documentation is collected, a tokenizer learned, tokens prepared, programs compiled.
Warm: the same again in another workdir. Both run in one go; what counts is the first line of progress, which the first
dispatch of ten steps prints. Python may keep its compiled modules (PYTHONDONTWRITEBYTECODE is taken out): without them
every start compiles all sources anew.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time


def first_step_seconds(cache: str) -> float:
  """Runs the quickstart until its first line of progress, then stops it."""
  with tempfile.TemporaryDirectory() as workdir:
    command = [sys.executable, '-m', 'experiments.gpt2', f'--workdir={workdir}/run', '--config.train.log_every=1']
    environment = {k: v for k, v in os.environ.items() if k != 'PYTHONDONTWRITEBYTECODE'} | {'MLSD_CACHE_DIR': cache}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    try:
      for line in process.stdout:
        if line.startswith('step '):
          return time.perf_counter() - began
    finally:
      process.kill()
      process.wait()
  raise SystemExit('the quickstart ended without a step')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--runs', type=int, default=3)
  runs = parser.parse_args().runs
  cold, warm = [], []
  for _ in range(runs):
    with tempfile.TemporaryDirectory() as cache:
      cold.append(first_step_seconds(cache))
      warm.append(first_step_seconds(cache))
  for name, seconds, goal in (('cold', cold, 15), ('warm', warm, 6)):
    print(f'{name}  median {statistics.median(seconds):5.1f} s of {runs} runs, goal under {goal} s')
  print(f'cold / warm  {statistics.median(cold) / statistics.median(warm):.1f}')


if __name__ == '__main__':
  main()
