"""A Report as lines to read, and as a row of a table."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from mlsd_jax.compilation.collectives import Collective
from mlsd_jax.compilation.hardware import GIB
from mlsd_jax.compilation.program import Report

_MIB = 2**20


def describe(report: Report) -> str:
  """All that is known, in lines."""
  lines = [f'{report.program} for {report.hardware} ({report.chip}), mesh {mesh_text(report.mesh)}']
  lines += [f'  {note}' for note in report.notes]
  if report.failure:
    return '\n'.join([*lines, f'  does not compile ({report.seconds:.0f} s): {report.failure}'])
  verdict = 'fits' if report.fits else 'DOES NOT FIT'
  lines += [
    f'  compiles in {report.seconds:.0f} s and {verdict}: {_gib(report.needed)} of the {_gib(report.usable)} GiB '
    f'a device that a program can have ({_gib(report.memory)} in all)',
    f'  bytes a device    arguments {_gib(report.arguments)} GiB, results {_gib(report.outputs)}, of them written over '
    f'arguments {_gib(report.aliased)}, temporaries {_gib(report.temporaries)}, code {_gib(report.code)}',
    f'  arithmetic        {report.flops:.3g} FLOP a device in matrix products, loops counted{_kernels(report)}',
  ]
  if report.model_flops:
    lines.append(f'                    the model requires {report.model_flops:.3g} a device')
  if report.xla_bytes:
    lines.append(
      f'                    XLA reckons {report.xla_flops:.3g} FLOP and {report.xla_bytes / GIB:.1f} GiB of memory '
      'traffic, each loop once'
    )
  lines += [*_collective_lines(report.collectives), *_memory_lines(report)]
  return '\n'.join(lines)


def as_row(report: Report) -> dict[str, Any]:
  """What a table shows of it, as JSON can hold it."""
  names = ('program', 'failure', 'fits', 'usable', 'needed', 'arguments', 'temporaries', 'flops', 'seconds')
  row = {name: getattr(report, name) for name in names}
  return row | {'mesh': mesh_text(report.mesh), 'collectives': collectives_text(report.collectives)}


def mesh_text(mesh: Mapping[str, int]) -> str:
  """'fsdp=8', or 'one device'."""
  return ' x '.join(f'{axis}={size}' for axis, size in mesh.items() if size > 1) or 'one device'


def collectives_text(collectives: Sequence[Collective]) -> str:
  """'2 all-gather fsdp, 1 reduce-scatter fsdp', those of a MiB and more, a loop's marked."""
  counted = collections.Counter(
    (each.kind, '+'.join(each.axes), each.in_loop) for each in collectives if each.bytes >= _MIB
  )
  parts = [f'{number} {kind} {axes}{" in a loop" if loop else ""}' for (kind, axes, loop), number in counted.items()]
  return ', '.join(parts) or 'none of a MiB or more'


def _collective_lines(collectives: Sequence[Collective]) -> list[str]:
  if not collectives:
    return ['  collectives       none']
  groups: dict[tuple[str, tuple[str, ...], str, bool], list[Collective]] = collections.defaultdict(list)
  for each in collectives:
    groups[each.kind, each.axes, each.dtype, each.in_loop].append(each)
  lines = ['  collectives a step']
  for (kind, axes, dtype, in_loop), group in sorted(groups.items(), key=lambda item: -_total(item[1])):
    times, overlapping = sum(each.times for each in group), sum(each.overlaps for each in group)
    where = f', {len(group)} in a loop' if in_loop else ''
    beside = f', {overlapping} beside other work' if overlapping else ''
    lines.append(
      f'    {times:>5} x {kind:<18} over {"+".join(axes):<16} {dtype}  {_total(group) / _MIB:>10,.1f} MiB'
      f'{where}{beside}'
    )
    largest = max(group, key=lambda each: each.bytes)
    if largest.bytes >= _MIB:
      lines.append(f'            the largest {largest.bytes / _MIB:,.1f} MiB {largest.source}'.rstrip())
  return lines


def _memory_lines(report: Report) -> list[str]:
  lines = [f'  largest temporaries at the peak ({_gib(report.peak)} GiB by this reckoning)']
  for number, held in report.largest:
    shape = held.instruction.shapes[0]
    dims = ','.join(map(str, shape.dims))
    several = f'{number} x ' if number > 1 else ''
    size = f'{number * held.bytes / _MIB:,.1f} MiB'
    lines.append(f'    {size:>14}  {several}{shape.dtype}[{dims}] {held.instruction.opcode} {held.source}'.rstrip())
  return lines


def _kernels(report: Report) -> str:
  if not report.kernels:
    return ''
  return '; beside ' + ', '.join(f'{number} x {name}' for name, number in report.kernels.items())


def _total(group: Sequence[Collective]) -> int:
  return sum(each.bytes * each.times for each in group)


def _gib(size: float) -> str:
  return f'{size / GIB:.2f}' if size >= GIB / 100 or not size else f'{size / GIB:.2g}'
