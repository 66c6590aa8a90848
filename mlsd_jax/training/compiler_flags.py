"""Flags of the compiler, by the accelerator that they are for, each with its reason.

XLA reads them from the environment when it starts: XLA_FLAGS for CPUs and GPUs, LIBTPU_INIT_ARGS for TPUs.
What they do to a program is printed by --mode=compile (docs/how-to/will_it_fit.md).
"""

import importlib.util
import os
from collections.abc import Sequence
from typing import NamedTuple


class Flag(NamedTuple):
  """A flag, its value, and what it is good for."""

  name: str
  value: str
  reason: str

  def __str__(self) -> str:
    return f'--{self.name}={self.value}'


# XLA's own matrix products on a CPU do bfloat16 fast in one layout only and the backward pass needs the others; oneDNN
# does all three (docs/explanation/performance.md).
CPU_BFLOAT16 = (
  Flag('xla_cpu_use_onednn', 'true', 'bfloat16 products in every layout'),
  Flag('xla_cpu_experimental_onednn_custom_call', 'true', 'those of the backward pass too'),
  Flag('xla_cpu_experimental_ynn_fusion_type', '', 'keeps another library from claiming the products first'),
)
# Asynchronous collectives and the latency-hiding scheduler are on by default (jaxlib 0.12: the schedule is the same
# with the flag and without it).
GPU = (
  Flag(
    'xla_gpu_all_gather_combine_threshold_bytes',
    str(16 * 2**20),
    'gathers of 16 MiB and not of 30: of 145 MiB of parameters 46 arrive beside products instead of 30 '
    '(4 layers of the 124M on 8 H100, fsdp)',
  ),
)
TPU = ()
# The plugin that a flag is for: without it nothing would read the flag.
_PLUGINS = {'gpu': ('jax_plugins.xla_cuda13', 'jax_plugins.xla_cuda12'), 'tpu': ('libtpu',)}


def set_flags(*, bfloat16: bool = False) -> None:
  """Puts the flags into the environment, for this process and those it starts. To be called before JAX starts.

  A flag that the environment names already is left as the user set it.

  Args:
    bfloat16: whether the program computes in it, which on a CPU needs oneDNN.
  """
  _add('XLA_FLAGS', [*(CPU_BFLOAT16 if bfloat16 else ()), *(GPU if _has_plugin('gpu') else ())])
  _add('LIBTPU_INIT_ARGS', TPU if _has_plugin('tpu') else ())


def of_platform(platform: str) -> Sequence[Flag]:
  """Those of 'cuda' or 'tpu'; () of others."""
  return {'cuda': GPU, 'tpu': TPU}.get(platform, ())


def _has_plugin(kind: str) -> bool:
  try:
    return any(importlib.util.find_spec(name) is not None for name in _PLUGINS[kind])
  except ModuleNotFoundError:  # not even the package that it would be in
    return False


def _add(variable: str, flags: Sequence[Flag]) -> None:
  given = os.environ.get(variable, '')
  named = {part.partition('=')[0] for part in given.split()}
  added = [str(flag) for flag in flags if f'--{flag.name}' not in named]
  if added:
    os.environ[variable] = ' '.join([given, *added]).strip()
