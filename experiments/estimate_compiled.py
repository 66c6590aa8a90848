"""What the compiler said of a config, beside what is estimated of it: rows of docs/reference/compiled.json."""

import pathlib
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments import config_files
from mlsd_jax import sealed
from mlsd_jax.errors import UserError
from mlsd_jax.estimates import training
from mlsd_jax.estimates.hardware import DEVICES, Hardware, split
from mlsd_jax.estimates.table import Group, Row
from mlsd_jax.estimates.units import show

TABLE = config_files.REPOSITORY / 'docs' / 'reference' / 'compiled.json'
TITLE = 'bytes a device, compiled'
_KEY = '--config.'

type PlanOf = Callable[[Any], training.Plan]  # what a config trains, of an object with a config and a workdir


def compiled(system: str, default: str, plan: training.Plan, plan_of: PlanOf, hardware: Hardware) -> Group:
  """What the compiler said of the training step of `plan` on this hardware, and how far the estimate is off.

  Args:
    system: of experiments.
    default: variant of its config that a row means which names none.
    plan_of: the plan of a row's config.
  """
  mesh = training.resolve_mesh(plan.mesh, hardware.count)
  estimated = sum(training.memory(plan, mesh).values())
  rows = []
  for entry in _entries(system, hardware):
    if not _is_alike(_plan_of_entry(entry, system, default, plan_of), plan, hardware.count):
      continue
    if entry.get('failure'):
      rows.append(Row(entry['row'], 'none', formula=f'{entry["failure"][:90]} ({entry["date"]})'))
      continue
    parts = f'{show(entry["arguments"], "bytes")} of arguments + {show(entry["temporaries"], "bytes")} of temporaries'
    off = estimated / entry['needed'] - 1
    rows.append(Row(entry['row'], entry['needed'], 'bytes', f'{parts}; the estimate is {off:+.0%} ({entry["date"]})'))
  where = 'docs/reference/compiled.md'
  if rows:
    return Group(TITLE, tuple(rows), (f'by the compiler, not run ({where})',))
  note = f'no row of {where} is of this config, mesh and hardware; --mode=compile makes one'
  return Group(TITLE, (), (note,))


def beside(groups: Sequence[Group], found: Group) -> list[Group]:
  """The groups with `found` behind that of memory."""
  place = next(i for i, group in enumerate(groups) if group.title.startswith('memory a device')) + 1
  return [*groups[:place], found, *groups[place:]]


def _entries(system: str, hardware: Hardware) -> list[dict[str, Any]]:
  """Training steps of a system on such devices; those of rows that name no flags cannot be told apart."""
  if not TABLE.exists():
    return []
  entries = sealed.read_json(TABLE)['rows']
  is_wanted = lambda each: each.get('experiment') == system and each['program'].startswith('train')
  return [each for each in entries if is_wanted(each) and split(each['hardware']) == _of(hardware)]


def _of(hardware: Hardware) -> tuple[int, str]:
  return hardware.count, next((name for name, device in DEVICES.items() if device == hardware.device), '')


def _plan_of_entry(entry: Mapping[str, Any], system: str, default: str, plan_of: PlanOf) -> training.Plan | None:
  """The plan of a row's own config; None of one that is no more as it was."""
  flags = dict(flag.removeprefix('--').split('=', 1) for flag in entry['flags'])
  try:
    config = config_files.load_config(flags.get('config', default), name=system)[1].unlock()
    values = {key.removeprefix('config.'): value for key, value in flags.items() if key.startswith('config.')}
    config.update_from_flattened_dict({key: _typed(config, key, value) for key, value in values.items()})
    return plan_of(types.SimpleNamespace(config=config, workdir=pathlib.Path('/nowhere')))
  except (UserError, KeyError, ValueError):
    return None


def _typed(config: Any, key: str, value: str) -> Any:
  node = config
  for part in key.split('.'):
    node = node[part]
  return type(node)(value) if isinstance(node, int | float | str) and not isinstance(node, bool) else value


def _is_alike(one: training.Plan | None, other: training.Plan, devices: int) -> bool:
  """Whether two plans are one program: all but the number of steps, meshes with their sizes."""
  if one is None:
    return False
  try:
    meshes = [training.resolve_mesh(plan.mesh, devices) for plan in (one, other)]
  except UserError:
    return False
  names = ('model', 'length', 'batch_size', 'accumulation', 'dtype', 'remat', 'fused_attention', 'loss_chunks')
  return meshes[0] == meshes[1] and all(getattr(one, name) == getattr(other, name) for name in (*names, 'optimizer'))
