"""The command line of an experiment: its flags, its config with the overrides, its --help."""

import inspect
import itertools
import os
import pathlib
import re
import stat
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import config_files, config_help
from experiments.modes import Part, as_mode
from experiments.run import Run
from mlsd_jax.errors import UserError
from mlsd_jax.executor import is_remote


def define_values(name: str, modes: Mapping[str, Any], define_flags) -> flags.FlagValues:
  values = flags.FlagValues()
  define = lambda kind, *args, **kwargs: kind(*args, flag_values=values, **kwargs)
  define(flags.DEFINE_enum, 'mode', next(iter(modes)), list(modes), 'part of the job to do')
  define(flags.DEFINE_string, 'workdir', None, f'folder of the run (default: runs/{name}/VARIANT)')
  define(
    flags.DEFINE_enum,
    'verify',
    None,
    ['changed', 'full'],
    "stored files whose checksums are compared: those changed since the last time, or 'full', every byte of all",
  )
  define(flags.DEFINE_string, 'coordinator', None, 'HOST:PORT of process 0, for a start by hand on several processes')
  define(flags.DEFINE_integer, 'num_processes', None, 'how many processes there are, with --coordinator')
  define(flags.DEFINE_integer, 'process_id', None, 'which of them this is, from 0')
  define_flags(values)
  return values


def _check_workdir(workdir: str | pathlib.Path | None) -> None:
  """Raises UserError if there can be no folder of that name."""
  if workdir is None:
    return
  if not str(workdir):
    raise UserError('--workdir= names no folder')
  if str(workdir).lower().startswith('file:'):
    path = '/' + str(workdir)[len('file:') :].lstrip('/')
    raise UserError(f'--workdir={workdir} is an address; a run lies in a folder, named by its path: --workdir={path}')
  try:
    in_store = is_remote(workdir)  # else a folder of the name s3: is made
  except UserError as error:
    raise UserError(f'--workdir={error}; a run lies in a folder') from error
  if in_store:
    raise UserError(f'--workdir={workdir}: a run lies in a folder, not in an object store; copy it there afterwards')
  for folder in (pathlib.Path(workdir), *pathlib.Path(workdir).parents):
    try:
      if not stat.S_ISDIR(folder.stat().st_mode):
        raise UserError(f'--workdir={workdir}: {folder} is a file, and not a folder')
      return
    except FileNotFoundError:
      continue
    except NotADirectoryError:
      continue
    except OSError as error:
      shown = str(workdir) if len(str(workdir)) < 100 else f'{str(workdir)[:60]}... ({len(os.fsencode(workdir))} bytes)'
      raise UserError(f'--workdir={shown}: {error.strerror}') from error


def own_flags(define_flags: Callable[[flags.FlagValues], None]) -> list[str]:
  values = flags.FlagValues()
  define_flags(values)
  return list(values)


def parse(
  name: str,
  argv: list[str],
  values: flags.FlagValues,
  default_config: str,
  renamed: Mapping[str, str],
  repeated: Sequence[str] = (),
) -> tuple[Run, str]:
  for argument in argv:
    if any('\ud800' <= character <= '\udfff' for character in argument):  # bytes that Python could not read
      raise UserError(f'the argument {argument!a} is no text in UTF-8; rename what it names')
  argv, overruled = _last_of_each(argv, {*(f'config.{key}' for key in repeated), *_multi_flags(values)})
  for argument in argv:
    config_files.check_name('--' + argument.partition('=')[0].lstrip('-'), renamed)
  config_files.check_name(f'--mode={take(argv, "mode")[0]}', renamed)
  spec, argv = take(argv, 'config')
  read_stored = lambda workdir: config_files.read_stored(workdir, name, default_config, renamed)
  given_workdir = take(argv, 'workdir')[0]
  _check_workdir(given_workdir)
  stored = read_stored(pathlib.Path(given_workdir)) if given_workdir else None
  if spec is None and given_workdir and stored is not None:
    variant, config = pathlib.Path(given_workdir).name, ConfigDict(config_files.as_written(stored))
  else:
    variant, config = config_files.load_config(spec or f'configs/{name}/{default_config}.py', renamed, name)
    if spec and '/' not in spec and not pathlib.Path(spec.partition(':')[0]).is_file():
      print(f'--config={spec} is configs/{name}/{variant.partition("-")[0]}.py', file=sys.stderr)
    config_files.check_structure(spec or default_config, config, name, default_config)
  overrides = [argument for argument in argv if argument.lstrip('-').startswith('config.')]
  given = [override.lstrip('-').split('=')[0].removeprefix('config.') for override in overrides]
  for key in given:
    config_files.check_key(config, key)
  for key in repeated:
    texts, argv = take_all(argv, f'config.{key}')
    if texts:
      section, _, last = key.rpartition('.')
      node = config[section] if section else config
      with node.ignore_type():
        node[last] = tuple(texts) if len(texts) > 1 else texts[0]
  config_flags.DEFINE_config_dict('config', config, flag_values=values, sys_argv=[name, *argv])
  _check_kinds(argv, values)
  try:
    rest = values([name, *argv])[1:]
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise UserError(str(error)) from error
  if rest:
    raise UserError(f'unexpected argument {rest[0]!r}; flags look like --mode=train or --config.key=value')
  workdir = pathlib.Path(values.workdir or pathlib.Path('runs', name, variant))
  _check_workdir(workdir)
  stored = stored if given_workdir else read_stored(workdir)
  return Run(name, values.config, values.flag_values_dict(), workdir, stored, given, overruled), values.mode


# What a text of each kind of flag has to be; the names of types are those of schema.py.
_KINDS = {'bool': 'bool (True or False)', 'int': 'int (a whole number)', 'float': 'float (a number)'}


def _check_kinds(argv: Sequence[str], values: flags.FlagValues) -> None:
  """Raises UserError for a text that is no value of its flag's kind; absl names the flag and not the kind."""
  for argument, following in itertools.zip_longest(argv, argv[1:]):
    name, equals, text = argument.lstrip('-').partition('=')
    if not argument.startswith('-') or name not in values or (values[name].boolean and not equals):
      continue
    parser = values[name].parser
    text = text if equals else _following(name, following)
    if parser.flag_type() not in _KINDS:
      continue
    try:
      parser.parse(text)
    except (TypeError, ValueError) as error:
      raise UserError(f'--{name} must be {_KINDS[parser.flag_type()]}, got {text!r}') from error


def _multi_flags(values: flags.FlagValues) -> list[str]:
  return [flag for flag in values if isinstance(values[flag], flags.MultiFlag)]


def _last_of_each(argv: Sequence[str], repeated: set[str]) -> tuple[list[str], list[str]]:
  """The arguments without those that a later one of the same name overrules, and a line of each.

  absl would do so without a word, and ml_collections would join the values of tuples.
  """
  taken: list[list[str]] = []  # an argument, with its value where that follows it
  place: dict[str, int] = {}
  values: dict[str, str] = {}
  overruled: list[str] = []
  for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue='-'):
    name, equals, value = argument.lstrip('-').partition('=')
    if not argument.startswith('-') or name in repeated:
      taken.append([argument])
      continue
    value = value if equals or following.startswith('-') else following
    if name in place:
      old = taken[place[name]]
      separate = '=' not in old[0] and place[name] + 1 < len(taken) and taken[place[name] + 1] == [values[name]]
      old.clear()
      if separate:
        taken[place[name] + 1].clear()
      if values[name] != value:
        overruled.append(f'--{name} is given twice, as {values[name]!r} and as {value!r}: the last counts')
    place[name], values[name] = len(taken), value
    taken.append([argument])
  return [argument for arguments in taken for argument in arguments], overruled


def name_flags(message: str, config: ConfigDict | None) -> str:
  """A message of the library, which speaks of settings, with the flags that set them.

  'train.steps must be' or 'config.train.steps must be' is '--config.train.steps must be'; so is 'optimizer.beta2', if
  one section alone has such a key.
  """
  if config is None:
    return message
  keys = [key for key, _ in config_files.leaves(config.to_dict())]
  known = {'.'.join(key.split('.')[:depth]) for key in keys for depth in range(1, key.count('.') + 2)}

  def flag(match: re.Match[str]) -> str:
    said, prefix = match[2], match[1] or ''
    if said in known and (prefix or '.' in said):
      return f'--config.{said}'
    longer = [key for key in keys if key.endswith(f'.{said}')]
    return f'--config.{longer[0]}' if len(longer) == 1 and '.' in said else match[0]

  return re.sub(r'(?<![\w./-])(config\.)?([a-z_]\w*(?:\.\w+)*)(?![\w/(])', flag, message)


def take(argv: list[str], flag: str) -> tuple[str | None, list[str]]:
  """The last value of --flag=value or --flag value, and the arguments without it."""
  values, rest = take_all(argv, flag)
  return values[-1] if values else None, rest


def _following(flag: str, argument: str | None) -> str:
  """The value of a flag without '=': the argument behind it, which is no flag itself."""
  if argument is None or argument.startswith('--'):
    raise UserError(f'--{flag} needs a value' + (f'; {argument} would be {f"--{flag}={argument}"}' if argument else ''))
  return argument


def take_all(argv: list[str], flag: str) -> tuple[list[str], list[str]]:
  """All values of --flag=value or --flag value in order, and the arguments without them."""
  values: list[str] = []
  rest, position = [], 0
  while position < len(argv):
    argument = argv[position]
    if argument in (f'--{flag}', f'-{flag}'):
      position += 1
      values.append(_following(flag, argv[position] if position < len(argv) else None))
    elif argument.startswith((f'--{flag}=', f'-{flag}=')):
      values.append(argument.split('=', 1)[1])
    else:
      rest.append(argument)
    position += 1
  return values, rest


def help_text(
  name: str,
  modes: Mapping[str, Part],
  values: flags.FlagValues,
  spec: str | None,
  default_config: str,
  classes: config_help.Classes,
  program: str = '',
) -> str:
  default = f'configs/{name}/{default_config}.py'
  lines = [
    f'python -m experiments.{program or name} [--config=configs/{name}/VARIANT.py] [--workdir=DIR]',
    '  [--mode=MODE] [--config.KEY=VALUE ...]',
  ]
  known = ', '.join(config_files.variants(config_files.REPOSITORY / 'configs' / name))
  lines += ['', *_indented('configs: ', f'{known}; the default is {default}'), '', 'modes:']
  mode_lines = (
    (mode, (inspect.getdoc(as_mode(part).function) or '').partition('\n')[0]) for mode, part in modes.items()
  )
  lines += [line for mode, text in mode_lines for line in _indented(f'  {mode:<12} ', text)]
  lines += ['', 'flags:']
  lines += [line for flag in values for line in _indented(f'  --{flag:<14} ', values[flag].help)]
  if (config_files.REPOSITORY / default).exists() or spec:
    shown = spec or default
    config = config_files.load_config(shown, name=name)[1]
    file = config_files.find(shown, name)
    lines += ['', f'keys of {shown}, each changed by --config.KEY=VALUE:']
    lines += config_help.describe_keys(file, config, classes)
  return '\n'.join(lines)


def _indented(start: str, text: str) -> list[str]:
  return textwrap.wrap(text, config_help.WIDTH, initial_indent=start, subsequent_indent=' ' * len(start)) or [start]
