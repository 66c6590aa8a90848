"""What every experiment shares: its flags, its one-line errors, its workdir.

    python -m experiments.NAME [--config=configs/NAME/VARIANT.py[:arg]] [--workdir=DIR]
        [--mode=MODE] [--config.key=value ...]

An experiment is a dictionary of modes, each a function of a `Run`; `launch` does the rest.
"""

import contextlib
import inspect
import os
import pathlib
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import config_files, config_help
from mlsd_jax import sealed
from mlsd_jax.errors import UserError

# What lies in a workdir before its run has made anything: the claim, and the tokenizer that the run begins with.
_CLAIM = ('config.json', 'data.json', 'tokenizer.json')


class Run:
  """One call of an experiment: the config with its overrides, the flags, the workdir.

  Attributes:
    config: locked ConfigDict.
    flags: values of the experiment's own flags by name.
    workdir: this run's folder.
    stored: the config of the run that the workdir holds, as `config` would spell it; None if it holds none.
    given: the keys that the command line sets.
  """

  def __init__(
    self,
    name: str,
    config: ConfigDict,
    values: Mapping[str, Any],
    workdir: pathlib.Path,
    stored: Mapping[str, Any] | None = None,
    given: Sequence[str] = (),
  ):
    self.name, self.config, self.flags, self.workdir = name, config, values, workdir
    self.stored, self.given = stored, given
    self._is_first = False
    self._earlier: set[pathlib.Path] = set()
    self._lock: contextlib.ExitStack | None = None

  def check(self, free: Sequence[str] = (), data: Mapping[str, Any] | None = None) -> None:
    """Looks whether the workdir is free for this config, or holds a run of it; writes nothing.

    Args:
      free: keys (or sections) that may differ from the earlier run, as they do not change its results.
      data: fingerprints of what the config names, by name, to be compared with those in data.json.

    Raises:
      UserError: the workdir holds a run of another config or of other data; what differs is named.
    """
    if self.stored is not None:
      differing = config_files.differences(self.stored, self.config.to_dict(), free)
      if differing:
        raise UserError(f'{self.workdir} holds a run with another config ({differing}); choose another --workdir')
    path = self.workdir / 'data.json'
    differing = config_files.differences(sealed.read_json(path), data) if data and path.exists() else ''
    if differing:
      raise UserError(f'{self.workdir} was begun with other data ({differing}); choose another --workdir')

  def claim(self, free: Sequence[str] = (), data: Mapping[str, Any] | None = None) -> None:
    """Makes the workdir this run's own: `check`, a lock until `launch` returns, then config.json and data.json.

    Called when all that can be wrong has been looked at, right before the work. If the work ends in a user's mistake or
    an interrupt all the same before it has made anything, `launch` takes the claim back, so that the mended command
    finds the workdir as it was.

    Raises:
      UserError: as `check`, or another process is at work in the workdir; its id is named. (The processes of one
        distributed run share the lock of the first.)
    """
    self.check(free, data)
    if self._lock is None:
      self._lock = contextlib.ExitStack()
      self._earlier = set(self.workdir.iterdir()) if self.workdir.is_dir() else set()
      if _is_main():
        self._lock.enter_context(sealed.lock(self.workdir))
      self._is_first = self.stored is None and not (self.workdir / 'config.json').exists()
    _barrier('workdir-claimed')
    if _is_main():
      if data:
        sealed.write_json(self.workdir / 'data.json', dict(data))
      sealed.write_json(self.workdir / 'config.json', self.config.to_dict())

  def take_back(self) -> None:
    """Removes what `claim` wrote, unless an earlier run or this one made more there. What lay there before stays."""
    if not (self._is_first and _is_main()):
      return
    made = [path for path in self.workdir.iterdir() if path not in self._earlier and path.name != '.lock']
    inside = [path for each in made if each.is_dir() for path in each.rglob('*')]
    if any(path.name not in _CLAIM for path in made if path.is_file()) or any(path.is_file() for path in inside):
      return
    for path in sorted([*made, *inside], reverse=True):
      if path.is_dir():
        path.rmdir()
      else:
        path.unlink(missing_ok=True)

  def release(self) -> None:
    """Lets others into the workdir; one that `claim` made is removed if it is empty."""
    if self._lock is not None:
      self._lock.close()

  def result(self) -> dict[str, Any] | None:
    """What an earlier, finished run wrote to result.json."""
    path = self.workdir / 'result.json'
    return sealed.read_json(path) if path.exists() else None

  def write_result(self, values: Mapping[str, Any]) -> None:
    """Adds final numbers to result.json."""
    if _is_main():
      sealed.write_json(self.workdir / 'result.json', (self.result() or {}) | dict(values))

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


def read_own_path(run: Run) -> None:
  """A path in data.path is read as the same path in data.source is.

  Raises:
    UserError: the command line gives both.
  """
  data = run.config.get('data', {})
  if not data.get('path'):
    return
  if {'data.path', 'data.source'} <= set(run.given):
    raise UserError('--config.data.source and --config.data.path are both given; one of them says what is read')
  data.source, data.path = data.path, ''


def launch(
  name: str,
  modes: Mapping[str, Callable[[Run], object]],
  default_config: str,
  *,
  define_flags: Callable[[flags.FlagValues], None] = lambda values: None,
  uses_jax: Callable[[Run], bool] = lambda run: True,
  renamed: Mapping[str, str] = {},
  settle: Callable[[Run], None] = read_own_path,
  classes: config_help.Classes = (),
  argv: Sequence[str] | None = None,
) -> int:
  """Parses the command line, runs a mode, and turns a user's mistake into one line on standard error.

  Args:
    name: of the experiment, and of its folder in configs/.
    modes: the first is the default.
    default_config: variant used when neither --config is given nor the workdir holds a run.
    define_flags: adds the experiment's own flags to the FlagValues it is handed.
    uses_jax: whether devices and other processes are to be set up; a run that needs none starts seconds sooner.
    renamed: old spelling -> new one, of keys ('--config.words': '--config.data.source'; a section stands for all that
      is in it), modes ('--mode=eval': '--mode=evaluate') and flags. An old spelling is refused; a workdir whose
      config.json has it still opens.
    settle: completes the config before a mode runs: what 'auto' is here, where a path leads.
    classes: the dataclasses of the config's sections, whose comments --help shows; see config_help.describe_keys.
    argv: arguments without the program's name; None takes the process's.

  Returns:
    The exit code: 0, 2 for a user's mistake, 130 for an interrupt from the keyboard.
  """
  argv = list(sys.argv[1:] if argv is None else argv)
  try:
    values = _define(name, modes, define_flags)
    if any(argument in ('-h', '--help', '-help') for argument in argv):
      with _quiet_exit():
        print(_help(name, modes, values, _take(argv, 'config')[0], default_config, classes))
      return 0
    run, mode = _parse(name, argv, values, default_config, renamed)
    if values.verify:
      os.environ[sealed.VERIFY] = values.verify  # which the processes that are started here have too
    settle(run)
    if uses_jax(run):
      _set_up_jax(run, values)
    else:
      _check_is_one_process(values)
    with _quiet_exit(), _claim_taken_back(run):
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

  leaves = config_files.leaves(run.config.to_dict())
  dtypes = [value for key, value in leaves if key.rpartition('.')[2] == 'dtype']  # of any section that computes
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


def _parse(
  name: str, argv: list[str], values: flags.FlagValues, default_config: str, renamed: Mapping[str, str]
) -> tuple[Run, str]:
  for argument in argv:
    config_files.check_name('--' + argument.partition('=')[0].lstrip('-'), renamed)
  config_files.check_name(f'--mode={_take(argv, "mode")[0]}', renamed)
  spec, argv = _take(argv, 'config')
  read_stored = lambda workdir: config_files.read_stored(workdir, name, default_config, renamed)
  given_workdir = _take(argv, 'workdir')[0]
  stored = read_stored(pathlib.Path(given_workdir)) if given_workdir else None
  if spec is None and given_workdir and stored is not None:
    variant, config = pathlib.Path(given_workdir).name, ConfigDict(config_files.as_written(stored))
  else:
    variant, config = config_files.load_config(spec or f'configs/{name}/{default_config}.py', renamed)
  overrides = [argument for argument in argv if argument.lstrip('-').startswith('config.')]
  given = [override.lstrip('-').split('=')[0].removeprefix('config.') for override in overrides]
  for key in given:
    config_files.check_key(config, key)
  config_flags.DEFINE_config_dict('config', config, flag_values=values, sys_argv=[name, *argv])
  try:
    rest = values([name, *argv])[1:]
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise UserError(str(error)) from error
  if rest:
    raise UserError(f'unexpected argument {rest[0]!r}; flags look like --mode=train or --config.key=value')
  workdir = pathlib.Path(values.workdir or pathlib.Path('runs', name, variant))
  stored = stored if given_workdir else read_stored(workdir)
  return Run(name, values.config, values.flag_values_dict(), workdir, stored, given), values.mode


def _take(argv: list[str], flag: str) -> tuple[str | None, list[str]]:
  """The last value of --flag=value or --flag value, and the arguments without it."""
  value, rest, position = None, [], 0
  while position < len(argv):
    argument = argv[position]
    if argument in (f'--{flag}', f'-{flag}'):
      if position + 1 == len(argv):
        raise UserError(f'--{flag} needs a value')
      value, position = argv[position + 1], position + 1
    elif argument.startswith((f'--{flag}=', f'-{flag}=')):
      value = argument.split('=', 1)[1]
    else:
      rest.append(argument)
    position += 1
  return value, rest


def _help(
  name: str,
  modes: Mapping[str, Callable[[Run], object]],
  values: flags.FlagValues,
  spec: str | None,
  default_config: str,
  classes: config_help.Classes,
) -> str:
  default = f'configs/{name}/{default_config}.py'
  lines = [
    f'python -m experiments.{name} [--config=configs/{name}/VARIANT.py] [--workdir=DIR]',
    '  [--mode=MODE] [--config.KEY=VALUE ...]',
  ]
  known = ', '.join(config_files.variants(config_files.REPOSITORY / 'configs' / name))
  lines += ['', *_indented('configs: ', f'{known}; the default is {default}'), '', 'modes:']
  mode_lines = ((mode, (inspect.getdoc(function) or '').partition('\n')[0]) for mode, function in modes.items())
  lines += [line for mode, text in mode_lines for line in _indented(f'  {mode:<12} ', text)]
  lines += ['', 'flags:']
  lines += [line for flag in values for line in _indented(f'  --{flag:<14} ', values[flag].help)]
  if (config_files.REPOSITORY / default).exists() or spec:
    shown = spec or default
    config = config_files.load_config(shown)[1]
    file = config_files.find(shown)
    lines += ['', f'keys of {shown}, each changed by --config.KEY=VALUE:']
    lines += config_help.describe_keys(file, config, classes)
  return '\n'.join(lines)


def _indented(start: str, text: str) -> list[str]:
  return textwrap.wrap(text, config_help.WIDTH, initial_indent=start, subsequent_indent=' ' * len(start)) or [start]


@contextlib.contextmanager
def _claim_taken_back(run: Run) -> Iterator[None]:
  """A start that failed leaves nothing behind; one that ended leaves the workdir to others."""
  try:
    yield
  except (UserError, KeyboardInterrupt):
    run.take_back()
    raise
  finally:
    run.release()


@contextlib.contextmanager
def _quiet_exit() -> Iterator[None]:
  """`... | head` closing our standard output is no error."""
  try:
    yield
    sys.stdout.flush()
  except BrokenPipeError:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
