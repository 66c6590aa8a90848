"""--mode=compile of every experiment that trains or serves: its programs compiled for a machine that is not here.

    python -m experiments.gpt2 --config=configs/gpt2/gpt2_124m.py --mode=compile --hardware=8xh100

An experiment says what its config compiles to (`programs`), and what might be changed where that does not fit
(`changes`). Nothing is read, nothing is written, no accelerator is asked for.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags as absl_flags
from ml_collections import ConfigDict

from experiments.modes import Mode
from experiments.run import Run
from mlsd_jax.errors import UserError

FLAGS = ('hardware', 'try_changes', 'program', 'report')
# Sizes of vocabularies that are fixed by their name, so that no file has to be at hand.
VOCABULARIES = {
  'bytes': 257,  # and the end of a text
  'gpt2': 50_257,
  'r50k_base': 50_257,
  'p50k_base': 50_281,
  'cl100k_base': 100_277,
  'o200k_base': 200_019,
}
CHARACTERS = 128  # of a text that is not read

SERVING_MESH = {'data': 1, 'fsdp': 1, 'tensor': -1}  # one copy of a model, its heads over all devices

type Programs = Callable[..., Sequence[Any]]  # of mlsd_jax.compilation.Program
type Change = Mapping[str, Any]  # values by key of the config


def define_flags(values: absl_flags.FlagValues) -> None:
  """The flags of --mode=compile."""
  absl_flags.DEFINE_string(
    'hardware', '', '--mode=compile: the machine, as 8xh100, 64xh100, v5e:4x4 or v6e:4x4', flag_values=values
  )
  absl_flags.DEFINE_bool(
    'try_changes', True, '--mode=compile: where it does not fit, look for the smallest change', flag_values=values
  )
  absl_flags.DEFINE_string(
    'program', '', '--mode=compile: only the programs whose name has this in it', flag_values=values
  )
  absl_flags.DEFINE_string('report', '', '--mode=compile: a JSON file to write the results to', flag_values=values)


def mode(
  programs: Programs,
  reads: Sequence[str],
  changes: Callable[[ConfigDict], Sequence[Change]] = lambda config: (),
  flags: Sequence[str] = (),
) -> Mode:
  """The mode of an experiment.

  Args:
    programs: config -> what it compiles to; of (config, values of flags) where it goes by `flags` of its own.
    reads: keys that `programs` goes by.
    changes: config -> what might make it fit, what costs least first.
  """

  def compile_(run: Run) -> None:
    """Compiles its programs for --hardware, which need not be here: bytes, collectives, whether it fits."""
    _compile(run, (lambda config: programs(config, run.flags)) if flags else programs, changes)

  return Mode(compile_, tuple(reads), flags=(*FLAGS, *flags))


def training_changes(config: ConfigDict, section: str = 'train', model: str = 'model') -> list[Change]:
  """What makes a language model's training smaller: what costs least time first, alone and then together."""
  train = config[section]
  shape = config[model] if model else {}
  chunks: list[Change] = [{f'{model}.loss_chunks': 8}] if shape.get('loss_chunks', 8) < 8 else []
  splits = train.mesh.get('data', 1) != 1 and train.step != 'pmap'
  split: list[Change] = [{f'{section}.mesh.data': 1, f'{section}.mesh.fsdp': -1}] if splits else []
  whole = shape.get('remat', 'full')
  remat: list[Change] = [{f'{model}.remat': name} for name in ('dots', 'full') if whole not in (name, 'full')]
  factors = [factor for factor in (2, 4, 8, 16) if train.batch_size % (max(train.accumulation, 1) * factor) == 0]
  parts: list[Change] = [{f'{section}.accumulation': max(train.accumulation, 1) * factor} for factor in factors]
  alone = [*chunks, *split, *remat, *parts]
  kinds = [*chunks, *split, *remat[-1:]]
  together: dict[str, Any] = {}
  for kind in kinds:
    together |= kind
  return [*alone, *([together] if len(kinds) > 1 else []), *({**together, **part} for part in parts if together)]


def vocabulary_size(tokenizer: str, workdir: pathlib.Path | None = None) -> int:
  """How many ids a tokenizer has, by its name; one that a run has learned lies in its workdir.

  Raises:
    UserError: only its text could tell.
  """
  kind, _, size = tokenizer.partition(':')
  if tokenizer in VOCABULARIES:
    return VOCABULARIES[tokenizer]
  if size.isdecimal():
    return int(size)
  if kind == 'char':
    return CHARACTERS
  from mlsd_jax import tokenizers

  return tokenizers.load(tokenizer).vocab_size


def changed(config: ConfigDict, change: Change) -> ConfigDict:
  """A copy of `config` with other values."""
  copy = ConfigDict(config.to_dict())
  copy.update_from_flattened_dict(dict(change))
  return copy


def _compile(run: Run, programs: Programs, changes: Callable[[ConfigDict], Sequence[Change]]) -> None:
  import jax

  if not run.flags['hardware']:
    from mlsd_jax.compilation.hardware import NAMES

    raise UserError(f'--mode=compile requires --hardware: {NAMES}')
  # Only the compiler of the machine is wanted; whatever is here is left alone.
  jax.config.update('jax_platforms', 'cpu')
  from mlsd_jax import files
  from mlsd_jax.compilation import as_row, compile_program, describe, open_hardware

  wanted = run.flags['program']
  selected = lambda config: [each for each in programs(config) if wanted in each.name]
  found = selected(run.config)
  if not found:
    names = ', '.join(each.name for each in programs(run.config))
    raise UserError(f'--program={wanted} names none of {names}')
  hardware = open_hardware(run.flags['hardware'], f'python -m experiments.{run.name}')
  if hardware.platform != 'cpu':  # what is compiled for devices that are not here cannot be read back
    jax.config.update('jax_enable_compilation_cache', False)
  run.print(f'compiled for {hardware.name}, not run: {_versions()}{_flags_of(hardware.platform)}')
  rows = []
  for program in found:
    report = compile_program(program, hardware)
    run.print(describe(report))
    rows.append(as_row(report) | {'versions': _versions()})
    if run.flags['report']:
      files.write_json(pathlib.Path(run.flags['report']), rows)
    if not report.is_too_large or not run.flags['try_changes']:
      continue
    for change, smaller in _tried(run, selected, changes, program.name, hardware):
      if smaller is not None and smaller.fits:
        run.print(f'fits with {_as_flags(change)}\n{describe(smaller)}')
        break
    else:
      run.print('none of the changes that are known makes it fit')


def _tried(run: Run, selected: Any, changes: Any, name: str, hardware: Any) -> Iterator[tuple[Change, Any]]:
  from mlsd_jax.compilation import compile_program

  for change in changes(run.config):
    try:
      program = next(each for each in selected(changed(run.config, change)) if each.name == name)
      report = compile_program(program, hardware)
    except UserError as error:
      run.print(f'  {_as_flags(change)}: {error}')
      continue
    needed = f'{report.needed / 2**30:.2f} GiB' if report.needed else report.failure
    run.print(f'  {_as_flags(change)}: {needed}')
    yield change, report


def _as_flags(change: Change) -> str:
  return ' '.join(f'--config.{key}={value}' for key, value in change.items())


def _flags_of(platform: str) -> str:
  from mlsd_jax.training.compiler_flags import of_platform

  return ''.join(f'\n  {flag}' for flag in of_platform(platform))


def _versions() -> str:
  import importlib.metadata

  names = ('jax', 'jaxlib', 'libtpu', 'jax-cuda13-plugin')
  installed = {each.metadata['Name'] for each in importlib.metadata.distributions()}
  return ', '.join(f'{name} {importlib.metadata.version(name)}' for name in names if name in installed)
