"""What this machine can: peak of its products, bandwidth, memory, measured in about a second."""

import functools
import os
import time
from collections.abc import Callable

from mlsd_jax.estimates.hardware import Device


def measure(clock: Callable[[], float] = time.perf_counter) -> Device:
  """This machine's CPU as a Device, each figure the best of a few rounds.

  The peak is of one product of 1024 x 1024 matrices in each dtype, the bandwidth that of reading 256 MB once: what a
  naive roofline knows. It stands for no other shape (calibration.py).

  Args:
    clock: time.process_time where other work shares the machine, and this process keeps to one core.
  """
  import jax
  import jax.numpy as jnp
  import numpy as np

  size = 1024
  peak = {}
  for name in ('float32', 'bfloat16'):
    a = jnp.ones((size, size), name)
    product = functools.partial(jax.jit(jnp.matmul), a, a)
    seconds = best_seconds(lambda: product().block_until_ready(), 7, clock)
    peak[name] = 2 * size**3 / seconds
  buffer = np.ones(2**25, np.float64)  # 256 MB, past any cache
  bandwidth = buffer.nbytes / best_seconds(lambda: buffer.sum(), 5, clock)
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  cores = len(os.sched_getaffinity(0))
  return Device(
    name=f'this machine ({cores} cores)',
    peak=peak,
    memory=float(memory),
    bandwidth=bandwidth,
    links=bandwidth,
    group=1,
    network=1.25e9,
    dollars_per_hour=0.0,
    price='here',
  )


def best_seconds(run: Callable[[], object], rounds: int, clock: Callable[[], float] = time.perf_counter) -> float:
  """The least seconds of so many calls, after one that does not count."""
  run()
  taken = []
  for _ in range(rounds):
    began = clock()
    run()
    taken.append(clock() - began)
  return min(taken)
