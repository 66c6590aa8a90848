"""The machine that a table is of, and how busy it is."""

import dataclasses
import importlib.metadata
import os
import pathlib
import platform
import re
import time

FEATURES = {'avx2': 'AVX2', 'avx512f': 'AVX-512', 'avx512_bf16': 'AVX-512 bf16', 'amx_bf16': 'AMX bf16'}
PACKAGES = ('jax', 'jaxlib', 'numpy', 'scann', 'tiktoken')
BUSY = 0.1  # share of the processors that others use, above which ratios are called soft


@dataclasses.dataclass(frozen=True)
class Machine:
  """Attributes:
  name: processor, its instructions for products, cores.
  slug: the same as a file's name.
  versions: of Python and of packages that decide speed.
  """

  name: str
  slug: str
  versions: dict[str, str]


def describe(cpuinfo: str | None = None) -> Machine:
  """This machine.

  Args:
    cpuinfo: the text of /proc/cpuinfo.
  """
  text = cpuinfo if cpuinfo is not None else pathlib.Path('/proc/cpuinfo').read_text()
  model = re.search(r'^model name\s*: (.*)$', text, re.MULTILINE)
  flags = re.search(r'^flags\s*: (.*)$', text, re.MULTILINE)
  known = set(flags[1].split()) if flags else set()
  best = [name for flag, name in FEATURES.items() if flag in known][-2:]
  cores = len(os.sched_getaffinity(0))
  processor = re.sub(r'\((R|TM)\)', '', model[1]).strip() if model else platform.processor() or platform.machine()
  name = f'{processor}, {" and ".join(best) or platform.machine()}, {cores} core{"s" * (cores != 1)}'
  slug = re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')
  versions = {'python': platform.python_version()}
  versions |= {package: importlib.metadata.version(package) for package in PACKAGES}
  return Machine(name, slug, versions)


def _ticks() -> tuple[int, int]:
  """Busy and all ticks of all processors since the machine began; what a hypervisor took (steal) counts as busy."""
  values = [int(x) for x in pathlib.Path('/proc/stat').read_text().splitlines()[0].split()[1:9]]
  return sum(values) - values[3] - values[4], sum(values)


def share_in_use(seconds: float = 2.0) -> float:
  """Share of the processors that is used while this process sleeps."""
  busy, every = _ticks()
  time.sleep(seconds)
  later, all_later = _ticks()
  return (later - busy) / max(all_later - every, 1)
