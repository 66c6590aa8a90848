"""A program, a machine that need not be here -> what the compiler says of it."""

import collections
import dataclasses
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from mlsd_jax.compilation.collectives import Collective, find_collectives
from mlsd_jax.compilation.flops import count_flops
from mlsd_jax.compilation.hardware import GIB, Hardware
from mlsd_jax.compilation.hlo import Module
from mlsd_jax.compilation.memory import Held, find_peak
from mlsd_jax.errors import UserError
from mlsd_jax.training import sharding

_SHOWN = 8  # of the largest temporaries
_OUT_OF_MEMORY = 'out of memory'


@dataclasses.dataclass(frozen=True)
class Program:
  """Something to compile.

  Attributes:
    name: 'train step', 'decode', ...
    mesh: devices by axis, as make_mesh takes them.
    lower: mesh of the machine's devices -> the program, traced for abstract arguments that lie on it.
    model_flops: of one call on all devices as the model's arithmetic requires them (what MFU counts); 0 where unknown.
    notes: mesh -> lines on how its arrays lie there.
  """

  name: str
  mesh: Mapping[str, int]
  lower: Callable[[Mesh], jax.stages.Lowered]
  model_flops: float = 0.0
  notes: Callable[[Mesh], Sequence[str]] = lambda mesh: ()


@dataclasses.dataclass(frozen=True)
class Report:
  """What came of compiling a program; sizes are bytes of one device.

  Attributes:
    failure: why it does not compile, in one line; '' where it does. What needs more memory than there is has sizes of 0
      but `needed` where the compiler said it.
    fits: whether it compiles and its bytes are among those that a program can have.
    flops: operations a device and call of the matrix products that are written out.
    kernels: how often others run, by name, whose operations are not among them.
    xla_flops, xla_bytes: what XLA itself reckons, each loop counted once; 0 where it does not (GPU).
    peak: bytes of temporaries that the reckoning of memory.py finds, beside `temporaries`.
    largest: arrays held at that peak, with how many there are of each.
    notes: of the program.
  """

  program: str
  hardware: str
  chip: str
  mesh: Mapping[str, int]
  failure: str = ''
  fits: bool = False
  seconds: float = 0.0
  usable: int = 0
  memory: int = 0
  needed: int = 0
  arguments: int = 0
  outputs: int = 0
  aliased: int = 0
  temporaries: int = 0
  code: int = 0
  flops: float = 0.0
  model_flops: float = 0.0
  kernels: Mapping[str, int] = dataclasses.field(default_factory=dict)
  xla_flops: float = 0.0
  xla_bytes: float = 0.0
  collectives: Sequence[Collective] = ()
  peak: int = 0
  notes: Sequence[str] = ()
  largest: Sequence[tuple[int, Held]] = ()

  @property
  def is_too_large(self) -> bool:
    """Whether memory is all that is against it."""
    return not self.fits and (bool(self.needed) or self.failure.startswith(_OUT_OF_MEMORY))


def compile_program(program: Program, hardware: Hardware) -> Report:
  """Compiles for a machine that need not be here.

  Raises:
    UserError: the mesh does not fit the machine, or settings do not fit together.
  """
  mesh = sharding.make_mesh(dict(program.mesh), hardware.devices)
  report = Report(program.name, hardware.name, hardware.chip, dict(mesh.shape))
  report = dataclasses.replace(report, usable=hardware.usable, memory=hardware.memory, notes=tuple(program.notes(mesh)))
  began = time.perf_counter()
  try:
    compiled = program.lower(mesh).compile()
  except UserError:
    raise
  except Exception as error:  # whatever the compiler has against it is the answer
    return dataclasses.replace(report, seconds=time.perf_counter() - began, **_failure(error))
  return dataclasses.replace(
    report,
    seconds=time.perf_counter() - began,
    model_flops=program.model_flops / mesh.size,
    **_read(compiled, mesh, hardware),
  )


def _read(compiled: jax.stages.Compiled, mesh: Mesh, hardware: Hardware) -> dict[str, Any]:
  module = Module(compiled.as_text() or '')
  sizes: Any = compiled.memory_analysis()
  cost: Any = compiled.cost_analysis() or {}
  flops, kernels = count_flops(module)
  peak = find_peak(module)
  needed = (
    sizes.argument_size_in_bytes
    + sizes.output_size_in_bytes
    - sizes.alias_size_in_bytes
    + sizes.temp_size_in_bytes
    + sizes.generated_code_size_in_bytes
  )
  return {
    'fits': needed <= hardware.usable,
    'needed': needed,
    'arguments': sizes.argument_size_in_bytes,
    'outputs': sizes.output_size_in_bytes,
    'aliased': sizes.alias_size_in_bytes,
    'temporaries': sizes.temp_size_in_bytes,
    'code': sizes.generated_code_size_in_bytes,
    'flops': flops,
    'kernels': kernels,
    'xla_flops': cost.get('flops', 0.0),
    'xla_bytes': cost.get('bytes accessed', 0.0),
    'collectives': find_collectives(module, mesh),
    'peak': peak.bytes,
    'largest': _alike(peak.held),
  }


def _alike(held: Sequence[Held]) -> list[tuple[int, Held]]:
  """Arrays of one shape and source as one, with their number, by their sum."""
  groups: dict[tuple[Any, ...], list[Held]] = collections.defaultdict(list)
  for each in held:
    shape = each.instruction.shapes[0]
    groups[shape.dtype, shape.dims, each.bytes, each.source].append(each)
  ordered = sorted(groups.values(), key=lambda group: -sum(each.bytes for each in group))
  return [(len(group), group[0]) for group in ordered[:_SHOWN]]


def _failure(error: Exception) -> dict[str, Any]:
  text = ' '.join(str(error).split()) or type(error).__name__
  used = re.search(r'[Uu]sed ([\d.]+)([KMGT]) of ([\d.]+)([KMGT]) hbm', text)
  if used:
    needed = int(float(used[1]) * GIB / 1024 ** ('GMK'.find(used[2]) if used[2] in 'GMK' else -1))
    return {'failure': f'{_OUT_OF_MEMORY}: the compiler uses {used[1]} {used[2]}iB of {used[3]}', 'needed': needed}
  if 'RESOURCE_EXHAUSTED' in text:
    return {'failure': f'{_OUT_OF_MEMORY}: {text[:240]}'}
  return {'failure': f'{type(error).__name__}: {text[:240]}'}
