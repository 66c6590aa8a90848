"""What each mode of an experiment reads: a key or a flag that would have no effect is refused before any work."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import flags

from experiments import config_files
from experiments.run import Run
from mlsd_jax.errors import UserError

EVERYTHING = ('*',)


@dataclasses.dataclass(frozen=True)
class Mode:
  """A part of an experiment's job, and what of the command line changes it.

  Attributes:
    function: does the part.
    reads: keys (or sections) of the config that it goes by.
    kept: keys that it reads as the run in the workdir was made with them, so that no other value can be given.
    flags: the experiment's own flags that it goes by.
  """

  function: Callable[[Run], object]
  reads: Sequence[str] = ()
  kept: Sequence[str] = ()
  flags: Sequence[str] = ()


type Part = Mode | Callable[[Run], object]
type Idle = Callable[[Run], Mapping[str, str]]


def as_mode(part: Part) -> Mode:
  """A bare function is a mode that goes by every key and flag."""
  return part if isinstance(part, Mode) else Mode(part, EVERYTHING, flags=EVERYTHING)


def covers(names: Iterable[str], key: str) -> bool:
  """Whether `key` is one of `names`, or lies in a section that is, or is a section that one of them lies in."""
  return any(name == '*' or key == name or key.startswith(f'{name}.') or name.startswith(f'{key}.') for name in names)


def refuse_idle(
  run: Run, name: str, parts: Mapping[str, Part], own_flags: Sequence[str], values: flags.FlagValues, idle: Idle
) -> None:
  """Looks at each key and flag of the command line: whether the mode goes by it.

  A key whose value is that of the run in the workdir is in effect, whatever the mode.

  Args:
    own_flags: the experiment's own.
    idle: run -> {key or section: why}: what has no effect beside the other values of this config.

  Raises:
    UserError: one has no effect, and why.
  """
  every = {other: as_mode(part) for other, part in parts.items()}
  mode = every[name]
  for flag in own_flags:
    if values[flag].present and not (mode.flags == EVERYTHING or flag in mode.flags):
      others = [other for other, each in every.items() if flag in each.flags]
      raise UserError(f'--{flag} has no effect in --mode={name}; {_of_modes(others)}')
  config = run.config.to_dict()
  without_effect = idle(run)
  for key in run.given_keys():
    if run.stored is not None and not config_files.differences(_part(run.stored, key), _part(config, key)):
      continue
    said = 'data.path' if key == 'data.source' and key not in run.given else key
    if not covers(mode.reads, key):
      if covers(mode.kept, key):
        raise UserError(_kept_message(run, name, key, said))
      others = [other for other, each in every.items() if covers(each.reads, key)]
      raise UserError(f'--config.{key} has no effect in --mode={name}; {_of_modes(others)}')
    for section, why in without_effect.items():
      if key == section or key.startswith(f'{section}.'):
        raise UserError(f'--config.{key} has no effect: {why}')


def _of_modes(others: Sequence[str]) -> str:
  return f'it is read by --mode={" and --mode=".join(others)}' if others else 'nothing reads it'


def _kept_message(run: Run, name: str, key: str, said: str) -> str:
  if run.stored is None:
    return f'--config.{said} is of the run that --mode={name} opens, and {run.workdir} holds none'
  there = dict(config_files.leaves(_part(run.stored, key))).get(key)
  return (
    f'--config.{said} cannot be changed in --mode={name}: the run in {run.workdir} was made with {there!r}; '
    'leave it out, or name another --workdir'
  )


def _part(config: Mapping[str, object], key: str) -> dict[str, object]:
  return {leaf: value for leaf, value in config_files.leaves(config) if leaf == key or leaf.startswith(f'{key}.')}
