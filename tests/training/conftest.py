"""Runs of several processes on this machine."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

# Gloo announces itself on standard output from several threads at once; what the script prints goes past it.
_PRELUDE = """
import os, sys
sys.stdout = open(os.dup(1), 'w', buffering=1, closefd=False)
os.dup2(2, 1)
from mlsd_jax.training import distributed
port, count, index, *arguments = sys.argv[1:]
distributed.initialize('localhost:' + port, int(count), int(index))
"""


@pytest.fixture
def run_processes(start_process, within) -> Callable[..., list[str]]:
  """run(script, *arguments, count=2, devices=4) -> what each process printed on standard output.

  The script runs once in every process, as one run; it finds `index`, `distributed` and `arguments` (strings).
  """

  def run(script: str, *arguments: object, count: int = 2, devices: int = 4, timeout: float = 90) -> list[str]:
    with socket.socket() as probe:
      probe.bind(('localhost', 0))
      port = probe.getsockname()[1]
    environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': str(devices), 'JAX_PLATFORMS': 'cpu'}
    environment['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'  # as in this process: compiling is most of the time
    processes = [
      start_process(
        [sys.executable, '-W', 'error', '-c', _PRELUDE + script, str(port), str(count), str(i), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
      )
      for i in range(count)
    ]
    results = [process.communicate(timeout=within(timeout)) for process in processes]
    for process, (_, errors) in zip(processes, results, strict=True):
      assert process.returncode == 0, errors
    return [out.rstrip('\n') for out, _ in results]

  return run
