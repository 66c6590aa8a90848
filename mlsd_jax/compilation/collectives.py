"""What devices say to each other: every collective of a compiled program, over which axes of the mesh, how often."""

import collections
import dataclasses
import itertools
import math
import re
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jax.sharding import Mesh

from mlsd_jax.compilation.hlo import Instruction, Module, Run

KINDS = ('all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'collective-permute')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One kind of exchange.

  Attributes:
    kind: one of KINDS.
    axes: of the mesh, over which it goes; ('?',) where its groups are those of no axes.
    dtype: of what is sent.
    bytes: of the whole: what a gather ends with, what a reduction begins with, on one device.
    times: a step (a lower bound where the rounds of a loop are not known).
    in_loop: whether it is within a loop.
    overlaps: whether products or kernels run between its start and its end.
    source: the line that it comes from.
  """

  kind: str
  axes: tuple[str, ...]
  dtype: str
  bytes: int
  times: int
  in_loop: bool
  overlaps: bool
  source: str


def find_collectives(module: Module, mesh: Mesh) -> list[Collective]:
  """Every collective of a program compiled for `mesh`, in the order of the program. Exchanges within one device (groups
  of one) are left out."""
  of_axes = _groups_of_axes(mesh)
  scattered = {name for name in module.computations if name.startswith('all-reduce-scatter')}
  asynchronous = _asynchronous(module)
  hidden = _beside_work(module)
  found = []
  for run in module.runs():
    kind = _kind(run, scattered)
    if kind is None or run.computation in asynchronous.repeated:
      continue
    instruction = run.instruction
    groups = _groups(instruction, kind, mesh.size)
    if all(len(group) == 1 for group in groups):
      continue
    axes = of_axes.get(frozenset(groups)) if kind != 'collective-permute' else _permuted_axes(groups, mesh)
    overlaps = (run.computation, instruction.name) in hidden or run.computation in asynchronous.starts
    dtype, size = _sent(run, kind, len(groups[0]))
    source = module.source(instruction)
    found.append(Collective(kind, axes or ('?',), dtype, size, run.times, run.loops > 0, overlaps, source))
  return found


def count(collectives: Iterable[Collective], *, least: int = 0) -> collections.Counter[tuple[str, tuple[str, ...]]]:
  """How many there are by (kind, axes), those of `least` bytes and more."""
  return collections.Counter((each.kind, each.axes) for each in collectives if each.bytes >= least)


def _kind(run: Run, scattered: set[str]) -> str | None:
  opcode = run.instruction.opcode.removesuffix('-start')
  if opcode not in KINDS:
    return None
  # A TPU's reduce-scatter is a fusion of an all-reduce and the slice of it that is kept.
  return 'reduce-scatter' if opcode == 'all-reduce' and run.computation in scattered else opcode


class _Asynchronous(NamedTuple):
  """Computations that begin a collective, and those that write it once more."""

  starts: set[str]
  repeated: set[str]


def _asynchronous(module: Module) -> _Asynchronous:
  """A TPU writes a collective that overlaps with others several times: in its start, beside them, in its end."""
  starts, repeated = set[str](), set[str]()
  for each in itertools.chain.from_iterable(module.computations.values()):
    if each.opcode == 'async-start' or each.name.startswith('async-collective-start'):
      starts |= {*each.called}
    elif each.name.startswith('async-collective-done'):
      repeated |= {*each.called}
  return _Asynchronous(starts, repeated | {name for name in module.computations if name.startswith('async_collective')})


def _beside_work(module: Module) -> set[tuple[str, str]]:
  """Starts, as (computation, name), before whose end products or kernels are scheduled."""
  found = set()
  for name, instructions in module.computations.items():
    open_starts: dict[str, bool] = {}
    for each in instructions:
      if each.opcode.removesuffix('-start') in KINDS and each.opcode.endswith('-start'):
        open_starts[each.name] = False
      elif each.opcode.endswith('-done'):
        found |= {(name, operand) for operand in each.operands if open_starts.pop(operand, False)}
      elif open_starts and _works(module, each):
        open_starts = dict.fromkeys(open_starts, True)
  return found


def _works(module: Module, instruction: Instruction) -> bool:
  """Whether it is a product or a kernel, or runs one."""
  if instruction.opcode in ('dot', 'convolution'):
    return True
  if instruction.opcode == 'custom-call':
    return (
      re.search(r'custom_call_target="[^"]*(cublas|cudnn|fmha|triton|tpu_custom_call)', instruction.attributes)
      is not None
    )
  inside = (module.computations.get(name, ()) for name in instruction.called)
  return any(_works(module, each) for each in itertools.chain.from_iterable(inside))


def _sent(run: Run, kind: str, ways: int) -> tuple[str, int]:
  instruction = run.instruction
  shapes = instruction.shapes
  if instruction.opcode == 'all-gather-start':  # operands, results
    shapes = shapes[len(shapes) // 2 :]
  elif instruction.opcode in ('collective-permute-start', 'reduce-scatter-start'):
    shapes = shapes[: max(len(shapes) // 2, 1)]
  elif instruction.opcode == 'reduce-scatter':
    return shapes[0].dtype, ways * sum(shape.plain_bytes for shape in shapes)
  return (shapes[0].dtype if shapes else '?'), sum(shape.plain_bytes for shape in shapes)


def _groups(instruction: Instruction, kind: str, devices: int) -> list[tuple[int, ...]]:
  text = instruction.attributes
  if kind == 'collective-permute':
    pairs = re.search(r'source_target_pairs=\{(.*?)\}(?:,|$)', text)
    numbers = [int(number) for number in re.findall(r'\d+', pairs[1])] if pairs else []
    return [tuple(pair) for pair in itertools.batched(numbers, 2)] or [(0,)]
  if named := re.search(r'replica_groups=mesh\[([^\]]*)\] ?\{([^}]*)\}', text):
    return _named_groups(named[1], named[2])
  if iota := re.search(r'replica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?', text):
    shape, dims = ([int(number) for number in iota[i].split(',')] for i in (1, 2))
    order = [int(number) for number in iota[3].split(',')] if iota[3] else range(len(dims))
    lines = np.arange(math.prod(dims)).reshape(dims).transpose(tuple(order)).reshape(shape[0], -1)
    return [tuple(sorted(line.tolist())) for line in lines]
  if lists := re.search(r'replica_groups=\{((?:\{[\d,]*\},?)+)\}', text):
    return [
      tuple(sorted(int(number) for number in group.split(','))) for group in re.findall(r'\{([\d,]+)\}', lists[1])
    ]
  return [tuple(range(devices))]


def _named_groups(mesh: str, axes: str) -> list[tuple[int, ...]]:
  """Groups of `'data'=2,'fsdp'=4` along `'fsdp'`, or a part of an axis, `'fsdp':(2)2`: the 2 behind the first 2."""
  sizes = {name: int(size) for name, size in re.findall(r"'([^']*)'=(\d+)", mesh)}
  numbers, names = np.arange(math.prod(sizes.values())).reshape(tuple(sizes.values())), list(sizes)
  places = []
  for name, before, size in re.findall(r"'([^']*)'(?::\((\d+)\)(\d+))?", axes):
    place = names.index(name)
    if size:
      whole, first, own = numbers.shape[place], int(before), int(size)
      split = (first, own, whole // first // own)
      numbers = numbers.reshape(*numbers.shape[:place], *split, *numbers.shape[place + 1 :])
      names[place : place + 1] = [f'{name}<', name, f'{name}>']
      place += 1
    places.append(place)
  length = math.prod(numbers.shape[place] for place in places)
  lines = np.moveaxis(numbers, places, range(-len(places), 0)).reshape(-1, length)
  return [tuple(sorted(line.tolist())) for line in lines]


def _groups_of_axes(mesh: Mesh) -> dict[frozenset[tuple[int, ...]], tuple[str, ...]]:
  """Groups of partition numbers -> the axes along which they lie. (Partition i is the mesh's device number i.)"""
  numbers = np.arange(mesh.size).reshape(mesh.devices.shape)
  names = [name for name in mesh.axis_names if mesh.shape[name] > 1]
  of_axes = {}
  for size in range(len(names), 0, -1):
    for axes in itertools.combinations(names, size):
      places = [mesh.axis_names.index(axis) for axis in axes]
      lines = np.moveaxis(numbers, places, range(-size, 0)).reshape(-1, np.prod([mesh.shape[axis] for axis in axes]))
      of_axes[frozenset(tuple(sorted(line.tolist())) for line in lines)] = axes
  return of_axes


def _permuted_axes(pairs: list[tuple[int, ...]], mesh: Mesh) -> tuple[str, ...]:
  """The axes along which any pair of devices differs."""
  places = [np.unravel_index(np.array(pair), mesh.devices.shape) for pair in pairs]
  return tuple(name for i, name in enumerate(mesh.axis_names) if any(place[i][0] != place[i][-1] for place in places))
