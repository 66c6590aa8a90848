"""What every experiment shares: its flags, its one-line errors, its workdir.

    python -m experiments.NAME [--config=configs/NAME/VARIANT.py[:arg]] [--workdir=DIR]
        [--mode=MODE] [--config.key=value ...]

An experiment is a dictionary of modes, each a function of a `Run`; `launch` does the rest.
"""

import contextlib
import importlib.util
import inspect
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from mlsd_jax import files
from mlsd_jax.errors import UserError

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


class Run:
  """One call of an experiment: the config with its overrides, the flags, the workdir.

  Attributes:
    config: locked ConfigDict.
    flags: values of the experiment's own flags by name.
    workdir: this run's folder.
  """

  def __init__(self, name: str, config: ConfigDict, values: Mapping[str, Any], workdir: pathlib.Path):
    self.name, self.config, self.flags, self.workdir = name, config, values, workdir

  def claim(self, free: Sequence[str] = ()) -> None:
    """Makes the workdir this config's own: writes config.json, or checks the one that is there.

    Args:
      free: keys (or sections) that may differ from the earlier run, as they do not change its results.

    Raises:
      UserError: the workdir holds a run of another config; the differing keys are named.
    """
    path = self.workdir / 'config.json'
    if path.exists():
      differing = differences(files.read_json(path), self.config.to_dict(), free)
      if differing:
        raise UserError(f'{self.workdir} holds a run with another config ({differing}); choose another --workdir')
    _barrier('workdir-claimed')
    if _is_main():
      files.write_json(path, self.config.to_dict())

  def result(self) -> dict[str, Any] | None:
    """What an earlier, finished run wrote to result.json."""
    path = self.workdir / 'result.json'
    return files.read_json(path) if path.exists() else None

  def write_result(self, values: Mapping[str, Any]) -> None:
    """Adds final numbers to result.json."""
    if _is_main():
      files.write_json(self.workdir / 'result.json', (self.result() or {}) | dict(values))

  def print(self, text: str = '') -> None:
    if _is_main():
      print(text, flush=True)


def _is_main() -> bool:
  if 'jax' not in sys.modules:  # an experiment without JAX is one process
    return True
  from mlsd_jax.training import distributed

  return distributed.is_main()


def _barrier(name: str) -> None:
  if 'jax' in sys.modules:
    from mlsd_jax.training import distributed

    distributed.barrier(name)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], free: Sequence[str] = ()) -> str:
  """'train.steps: 10 there, 20 here; ...' for every leaf that differs outside of `free`; '' when none does."""
  old_flat, new_flat = dict(_leaves(old)), dict(_leaves(new))
  is_free = lambda key: any(key == name or key.startswith(name + '.') for name in free)
  keys = [key for key in old_flat | new_flat if not is_free(key)]
  show = lambda flat, key: repr(flat[key]) if key in flat else 'absent'
  return '; '.join(
    f'{key}: {show(old_flat, key)} there, {show(new_flat, key)} here'
    for key in keys
    if show(old_flat, key) != show(new_flat, key)
  )


def _leaves(tree: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from _leaves(value, f'{prefix}{key}.')
    else:
      yield prefix + key, list(value) if isinstance(value, tuple) else value


def launch(
  name: str,
  modes: Mapping[str, Callable[[Run], None]],
  default_config: str,
  *,
  define_flags: Callable[[flags.FlagValues], None] = lambda values: None,
  uses_jax: Callable[[Run], bool] = lambda run: True,
  argv: Sequence[str] | None = None,
) -> int:
  """Parses the command line, runs a mode, and turns a user's mistake into one line on standard error.

  Args:
    name: of the experiment, and of its folder in configs/.
    modes: the first is the default.
    default_config: variant used when neither --config is given nor the workdir holds a run.
    define_flags: adds the experiment's own flags to the FlagValues it is handed.
    uses_jax: whether devices and other processes are to be set up; a run that needs none starts seconds sooner.
    argv: arguments without the program's name; None takes the process's.

  Returns:
    The exit code: 0, 2 for a user's mistake, 130 for an interrupt from the keyboard.
  """
  argv = list(sys.argv[1:] if argv is None else argv)
  try:
    values = _define(name, modes, define_flags)
    if any(argument in ('-h', '--help', '-help') for argument in argv):
      with _quiet_exit():
        print(_help(name, modes, values))
      return 0
    run, mode = _parse(name, argv, values, default_config)
    if uses_jax(run):
      _set_up_jax(run, values)
    else:
      _check_is_one_process(values)
    with _quiet_exit():
      modes[mode](run)
    _barrier('finished')
    return 0
  except (UserError, flags.Error) as error:
    message = ' '.join(str(error).split())
    print(f'error: {message}', file=sys.stderr)
    return 2
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    return 130


def _set_up_jax(run: Run, values: flags.FlagValues) -> None:
  from mlsd_jax.training import devices, distributed

  dtypes = [run.config.get(section, {}).get('dtype') for section in ('train', 'encoder')]
  devices.configure_backend(bfloat16='bfloat16' in dtypes)
  distributed.initialize(values.coordinator, values.num_processes, values.process_id)


def _check_is_one_process(values: flags.FlagValues) -> None:
  for name in ('coordinator', 'num_processes', 'process_id'):
    if values[name].present:
      raise UserError(f'--mode={values.mode} needs no JAX and runs in one process; leave --{name} out')


def _define(name: str, modes: Mapping[str, Any], define_flags) -> flags.FlagValues:
  values = flags.FlagValues()
  define = lambda kind, *args, **kwargs: kind(*args, flag_values=values, **kwargs)
  define(flags.DEFINE_enum, 'mode', next(iter(modes)), list(modes), 'part of the job to do')
  define(flags.DEFINE_string, 'workdir', None, f'folder of the run (default: runs/{name}/VARIANT)')
  define(flags.DEFINE_string, 'coordinator', None, 'HOST:PORT of process 0, for a start by hand on several processes')
  define(flags.DEFINE_integer, 'num_processes', None, 'how many processes there are, with --coordinator')
  define(flags.DEFINE_integer, 'process_id', None, 'which of them this is, from 0')
  define_flags(values)
  return values


def _parse(name: str, argv: list[str], values: flags.FlagValues, default_config: str) -> tuple[Run, str]:
  spec, argv = _take(argv, 'config')
  given_workdir = _take(argv, 'workdir')[0]
  stored = pathlib.Path(given_workdir, 'config.json') if given_workdir else None
  if spec is None and stored is not None and stored.exists():
    variant, config = stored.parent.name, ConfigDict(_as_written(files.read_json(stored)))
  else:
    variant, config = load_config(spec or f'configs/{name}/{default_config}.py')
  overrides = [argument for argument in argv if argument.lstrip('-').startswith('config.')]
  for override in overrides:
    _check_key(config, override.lstrip('-').split('=')[0].removeprefix('config.'))
  config_flags.DEFINE_config_dict('config', config, flag_values=values, sys_argv=[name, *argv])
  try:
    rest = values([name, *argv])[1:]
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise UserError(str(error)) from error
  if rest:
    raise UserError(f'unexpected argument {rest[0]!r}; flags look like --mode=train or --config.key=value')
  workdir = pathlib.Path(values.workdir or pathlib.Path('runs', name, variant))
  return Run(name, values.config, values.flag_values_dict(), workdir), values.mode


def _as_written(value: Any) -> Any:
  """JSON's lists as the tuples they were in the config."""
  if isinstance(value, dict):
    return {key: _as_written(item) for key, item in value.items()}
  return tuple(map(_as_written, value)) if isinstance(value, list) else value


def _take(argv: list[str], flag: str) -> tuple[str | None, list[str]]:
  """The last value of --flag=value or --flag value, and the arguments without it."""
  value, rest, position = None, [], 0
  while position < len(argv):
    argument = argv[position]
    if argument in (f'--{flag}', f'-{flag}'):
      if position + 1 == len(argv):
        raise UserError(f'--{flag} wants a value')
      value, position = argv[position + 1], position + 1
    elif argument.startswith((f'--{flag}=', f'-{flag}=')):
      value = argument.split('=', 1)[1]
    else:
      rest.append(argument)
    position += 1
  return value, rest


def _check_key(config: ConfigDict, dotted: str) -> None:
  node: Any = config
  seen = 'config'
  for part in dotted.split('.'):
    part, _, index = part.partition('[')
    if not isinstance(node, ConfigDict) or part not in node:
      keys = f'its keys are {", ".join(node.keys())}' if isinstance(node, ConfigDict) else 'it is a single value'
      raise UserError(f'{seen} has no key {part!r}; {keys}')
    seen, node = f'{seen}.{part}', node[part]
    if index:
      return


def load_config(spec: str) -> tuple[str, ConfigDict]:
  """(variant name, get_config()) of 'configs/NAME/VARIANT.py' or 'configs/NAME/VARIANT.py:arg'.

  A relative path is looked for in the current folder, then beside the package.

  Raises:
    UserError: no such file, no get_config in it, or it does not take the argument.
  """
  path, colon, argument = spec.partition(':')
  candidates = [pathlib.Path(path), REPOSITORY / path]
  found = next((candidate for candidate in candidates if candidate.is_file()), None)
  if found is None:
    known = ', '.join(_variants(REPOSITORY / pathlib.Path(path).parent))
    raise UserError(f'no config file {path}' + (f'; {pathlib.Path(path).parent} has {known}' if known else ''))
  module_spec = importlib.util.spec_from_file_location(f'config_{found.stem}', found)
  if module_spec is None or module_spec.loader is None:
    raise UserError(f'{path} is not a Python file')
  module = importlib.util.module_from_spec(module_spec)
  try:
    module_spec.loader.exec_module(module)
  except SyntaxError as error:
    raise UserError(f'{path}, line {error.lineno}: {error.msg}') from error
  if not hasattr(module, 'get_config'):
    raise UserError(f'{path} has no get_config()')
  takes_argument = bool(inspect.signature(module.get_config).parameters)
  if colon and not takes_argument:
    raise UserError(f'{path} takes no argument, but {argument!r} was given after the colon')
  config = module.get_config(argument) if colon else module.get_config()
  variant = f'{found.stem}-{argument}' if colon else found.stem
  return variant, config.lock()


def _variants(folder: pathlib.Path) -> list[str]:
  return sorted(path.stem for path in folder.glob('*.py') if not path.stem.startswith('_'))


def _help(name: str, modes: Mapping[str, Callable[[Run], None]], values: flags.FlagValues) -> str:
  lines = [
    f'python -m experiments.{name} [--config=configs/{name}/VARIANT.py] [--workdir=DIR] [--config.key=value ...]'
  ]
  lines += ['', f'configs: {", ".join(_variants(REPOSITORY / "configs" / name))}', '', 'modes:']
  lines += [
    f'  {mode:<10} {(inspect.getdoc(function) or "").partition(chr(10))[0]}' for mode, function in modes.items()
  ]
  lines += ['', 'flags:']
  lines += [f'  --{flag:<14} {values[flag].help}' for flag in values if flag != 'config']
  return '\n'.join(lines)


@contextlib.contextmanager
def _quiet_exit() -> Iterator[None]:
  """`... | head` closing our standard output is no error."""
  try:
    yield
    sys.stdout.flush()
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
