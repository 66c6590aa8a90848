"""How a system is estimated: the flags of its load, and their values as numbers."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments import contract, sections
from mlsd_jax.errors import UserError
from mlsd_jax.estimates import units
from mlsd_jax.estimates.hardware import BYTES, Hardware
from mlsd_jax.estimates.table import Group

LEAST, MOST = 1e-9, 1e18  # of any number, in its base unit: bytes, seconds, a count


@dataclasses.dataclass(frozen=True)
class Setting:
  """A flag of the load: its text by default, the dimension of units.parse, what --help says."""

  default: str
  dimension: str
  help: str


@dataclasses.dataclass(frozen=True)
class System:
  """How a system is estimated.

  Attributes:
    reads: keys of its config that the estimate goes by.
    sections: makes the classes that check them, which import what only this system needs; see experiments/sections.py.
    settings: its flags.
    groups: (run, values of the flags by name, hardware) -> what is printed.
    misfit: the same -> what does not fit, or None.
    uses_hardware: whether --hardware changes what is printed.
    compiles_with: flags of hardware that --mode=compile of its experiment reads, where the estimate does not.
    default: variant of its config.
  """

  reads: Sequence[str]
  sections: Callable[[], Mapping[str, sections.Section]]
  settings: Mapping[str, Setting]
  groups: Callable[[contract.Run, Mapping[str, Any], Hardware], list[Group]]
  misfit: Callable[[contract.Run, Mapping[str, Any], Hardware], str | None] = lambda run, values, hardware: None
  uses_hardware: bool = True
  compiles_with: Sequence[str] = ()
  default: str = 'quickstart'


def read_number(name: str, text: str, dimension: str) -> float | None:
  """The value of a flag of that dimension of units.parse; None where it is left empty.

  Raises:
    UserError: it is no such number; the flag is named.
  """
  try:
    return units.parse(text, dimension) if text else None
  except UserError as error:
    raise UserError(f'--{name}: {error}') from error


def check_range(name: str, text: str, value: float | None) -> None:
  """Refuses a number so small or so large that nothing can be said; 0 is for others to judge.

  Raises:
    UserError: it is out of range.
  """
  if value and not LEAST <= value <= MOST:
    raise UserError(f'--{name}={text} is out of range; estimates are made for {LEAST:g} to {MOST:g}')


def read_settings(system: System, flags: Mapping[str, Any]) -> dict[str, Any]:
  """The values of a system's flags as numbers; None where a flag is left empty.

  Raises:
    UserError: a unit that does not match, or a number that cannot be.
  """
  values: dict[str, Any] = {}
  for name, setting in system.settings.items():
    text = flags[name]
    if setting.dimension == 'dtype':
      if text not in BYTES:
        raise UserError(f'--{name}={text!r} is not one of {", ".join(BYTES)}')
      values[name] = text
      continue
    value = values[name] = read_number(name, text, setting.dimension)
    if value == 0 and name not in ('batch', 'updates_per_day'):
      raise UserError(f'--{name}={text} must be above 0')
    if setting.dimension == 'share' and value is not None and value > 1:
      raise UserError(f'--{name}={text} is more than the whole; a share is at most 1 or 100%')
    if name == 'mfu' and value is not None and value < 0.001:
      raise UserError(f'--mfu={text} is below 0.1%, of which no estimate is one')
    check_range(name, text, value)
    if setting.dimension == 'count' and value and value < 1:
      raise UserError(f'--{name}={text} must be at least 1')
  return values
