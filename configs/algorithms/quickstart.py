"""algorithms: every reference solution against its oracle and its samples.

python -m experiments.algorithms

Measured: 64 problems, 64 passed, 6.7 s on two CPU cores that others used too.
"""

from ml_collections import ConfigDict


def get_config():
  return ConfigDict(
    {
      'operations': 2000,  # random calls a design problem, a quarter at each of four sizes
      'prove_operations': 100_000,  # the same for --mode=prove
      'seed': 0,
      'sizes': (4, 24, 128),  # of the hidden cases that --mode=test judges a class on
      'rounds': 200,  # of --mode=stress
      'growth_seconds': True,  # measure time as well as steps
      'limits': {
        'time': 2.0,  # seconds of processor time
        'memory': 256,  # MiB
        'output': 64,  # MiB
      },
      'compare': '',  # validator flags of the Kattis format, such as 'float_tolerance 1e-6'; '' compares tokens
    }
  )
