"""What every experiment shares: its flags, its one-line errors, its workdir.

    python -m experiments.NAME [--config=configs/NAME/VARIANT.py[:arg]] [--workdir=DIR]
        [--mode=MODE] [--config.key=value ...]

An experiment is a dictionary of modes, each a function of a `Run` and the keys and flags that it goes by (`Mode`);
`launch` does the rest.
"""

import contextlib
import dataclasses
import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import flags
from ml_collections import ConfigDict

from experiments import command_line, config_files, config_help, process
from experiments.modes import Idle, Mode, Part, as_mode, refuse_idle
from experiments.run import Run, barrier
from experiments.sections import Section, check
from mlsd_jax import sealed, tuning
from mlsd_jax.errors import UserError
from mlsd_jax.printable import printable

# What is wrong with a disk, a path or a limit of the machine, and not with the code.
_OF_THE_MACHINE = {
  getattr(errno, name)
  for name in (
    *('EACCES', 'EPERM', 'EROFS', 'ENOSPC', 'EDQUOT', 'EFBIG', 'EIO', 'ENAMETOOLONG', 'ENOTDIR', 'EISDIR'),
    *('ELOOP', 'EMFILE', 'ENFILE'),
  )
}

__all__ = ['Mode', 'Run', 'launch', 'read_own_path']


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
  modes: Mapping[str, Part],
  default_config: str,
  *,
  program: str = '',
  define_flags: Callable[[flags.FlagValues], None] = lambda values: None,
  uses_jax: Callable[[Run], bool] = lambda run: True,
  renamed: Mapping[str, str] = {},
  settle: Callable[[Run], None] = read_own_path,
  idle: Idle = lambda run: {},
  sections: Mapping[str, Section] = {},
  classes: config_help.Classes = (),
  repeated: Sequence[str] = (),
  argv: Sequence[str] | None = None,
) -> int:
  """Parses the command line, runs a mode, and turns a user's mistake into one line on standard error.

  Args:
    name: of the experiment, and of its folder in configs/.
    modes: the first is the default. A bare function goes by every key and flag.
    default_config: variant used when neither --config is given nor the workdir holds a run.
    program: what stands behind `python -m experiments.` in --help, where it is not `name`.
    define_flags: adds the experiment's own flags to the FlagValues it is handed.
    uses_jax: whether devices and other processes are to be set up; a run that needs none starts seconds sooner.
    renamed: old spelling -> new one, of keys ('--config.words': '--config.data.source'; a section stands for all that
      is in it), modes ('--mode=eval': '--mode=evaluate') and flags. An old spelling is refused; a workdir whose
      config.json has it still opens.
    settle: completes the config before a mode runs: what 'auto' is here, where a path leads.
    idle: run -> {key or section: why}, of what has no effect beside the other values of a config; given all the same,
      it is refused.
    sections: what each section of the config is made into, so that a bad value is found before any work; see
      sections.check.
    repeated: keys of text whose flag may be repeated: each time it is one text as it stands, and together a tuple.
    classes: the dataclasses of the config's sections, whose comments --help shows; see config_help.describe_keys.
    argv: arguments without the program's name; None takes the process's.

  Returns:
    The exit code: what the mode returned, if that is a whole number, else 0; 2 for a user's mistake, 130 for an
    interrupt from the keyboard.
  """
  argv = list(sys.argv[1:] if argv is None else argv)
  with _one_line() as answer:
    if sys.stdout is None:
      raise UserError('standard output is closed; send it to a file, or to /dev/null')
    values = command_line.define_values(name, modes, define_flags)
    if any(argument in ('-h', '--help', '-help') for argument in argv):
      with _quiet_exit():
        print(
          command_line.help_text(
            name, modes, values, command_line.take(argv, 'config')[0], default_config, classes, program
          )
        )
      return 0
    run, mode = command_line.parse(name, argv, values, default_config, renamed, repeated)
    answer.config = run.config
    if values.verify:
      os.environ[sealed.VERIFY] = values.verify  # which the processes that are started here have too
    settle(run)
    refuse_idle(run, mode, modes, command_line.own_flags(define_flags), values, idle)
    goes_by = as_mode(modes[mode])
    check(run.config, sections, (*goes_by.reads, *goes_by.kept))
    if uses_jax(run):
      tuning.check_by_hand()  # of a run that is finished, too, where nothing is left to choose
      _set_up_jax(run, values)
    else:
      _check_is_one_process(values)
    ended: object = None  # as it stays where the reader of our output has gone
    with _quiet_exit(), _claim_taken_back(run):
      ended = goes_by.function(run)
    for line in run.overruled:  # a mistake is one line, so that they follow what went well
      print(line, file=sys.stderr)
    barrier('finished')
    answer.code = ended if type(ended) is int else 0  # of a judge; others return what their callers use
  return answer.code


@dataclasses.dataclass
class _Answer:
  code: int = 0
  config: ConfigDict | None = None


@contextlib.contextmanager
def _one_line() -> Iterator[_Answer]:
  """Turns a mistake, an interrupt, or what the machine refuses into a line on standard error and an exit code."""
  answer, message = _Answer(), ''
  try:
    with process.interruptible():
      yield answer
  except KeyboardInterrupt:
    answer.code, message = process.INTERRUPTED, 'interrupted'
  except (UserError, flags.Error) as error:
    answer.code, message = 2, f'error: {command_line.name_flags(" ".join(str(error).split()), answer.config)}'
  except OSError as error:
    if error.errno not in _OF_THE_MACHINE:
      raise
    answer.code, message = 2, f'error: {_said_of(error)}'
  except Exception:
    if not process.was_interrupted():
      raise
    answer.code, message = process.INTERRUPTED, 'interrupted'
  if message:
    with contextlib.suppress(OSError):
      print(printable(message), file=sys.stderr, flush=True)


def _said_of(error: OSError) -> str:
  """What the machine refused, in a line."""
  if error.filename:
    return f'{error.filename}: {error.strerror}'
  return f'{process.refused_output() or "a file cannot be written"}: {error.strerror}'


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


@contextlib.contextmanager
def _claim_taken_back(run: Run) -> Iterator[None]:
  """A start that failed leaves nothing behind; one that ended leaves the workdir to others."""
  try:
    yield
  except (UserError, KeyboardInterrupt, OSError):
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
    process.discard_output()
