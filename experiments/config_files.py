"""Configs: files of configs/, the config.json of a workdir, and keys that once had another name."""

import contextlib
import difflib
import importlib.util
import inspect
import pathlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mlsd_jax import sealed
from mlsd_jax.errors import UserError

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
_KEY = '--config.'
# Sections whose keys are a user's own choice: one that is missing is missing on purpose.
_OPEN = ('models', 'rungs', 'synthetic', 'columns', 'per_source', 'problem')


def load_config(spec: str, renamed: Mapping[str, str] = {}, name: str = '') -> tuple[str, ConfigDict]:
  """(variant name, get_config()) of 'configs/NAME/VARIANT.py' or 'configs/NAME/VARIANT.py:arg', or of 'VARIANT' alone.

  A relative path is looked for in the current folder, then beside the package.

  Args:
    renamed: old spellings, which the file must not have; see contract.launch.
    name: of the experiment.

  Raises:
    UserError: no such file, one that fails or is of another experiment, no get_config in it, it does not take the
      argument, makes no ConfigDict, or has a key by an old name.
  """
  path, colon, argument = spec.partition(':')
  found = find(spec, name)
  folder = found.resolve().parent
  if name and folder.parent == REPOSITORY / 'configs' and folder.name != name:
    raise UserError(f'{path} is a config of experiments.{folder.name}, not of experiments.{name}')
  module = _module(found, path)
  get_config = getattr(module, 'get_config', None)
  if not callable(get_config):
    raise UserError(f'{path} has no get_config()')
  parameters = inspect.signature(get_config).parameters.values()
  if colon and not parameters:
    raise UserError(f'{path} takes no argument, but {argument!r} was given after the colon')
  if not colon and any(each.default is each.empty and each.kind < each.VAR_POSITIONAL for each in parameters):
    raise UserError(f'{path} needs an argument after a colon: --config={path}:ARGUMENT')
  with _in_one_line(found, path):
    config = get_config(argument) if colon else get_config()
  if not isinstance(config, ConfigDict):
    raise UserError(f'{path}: get_config() returns a {type(config).__name__}; it must be an ml_collections.ConfigDict')
  for key, _ in leaves(config.to_dict()):
    check_name(_KEY + key, renamed, where=f'{path}: ')
  variant = f'{found.stem}-{argument}' if colon else found.stem
  return variant, config.lock()


def find(spec: str, name: str = '') -> pathlib.Path:
  """The file of `spec`, as load_config looks for it.

  Raises:
    UserError: no such file; those that there are are named.
  """
  path = pathlib.Path(spec.partition(':')[0])
  own = pathlib.Path('configs', name)
  candidates = [path, REPOSITORY / path]
  if name and path.name == str(path):
    candidates.append(REPOSITORY / own / path.with_suffix('.py'))
  try:
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
  except OSError as error:
    raise UserError(f'--config={str(path)[:60]}...: {error.strerror}') from error
  if found is None:
    folder = next((folder for folder in (path, path.parent, own) if variants(REPOSITORY / folder)), None)
    known = ', '.join(variants(REPOSITORY / folder)) if folder else ''
    raise UserError(f'no config file {path}' + (f'; {folder} has {known}' if folder else ''))
  return found


def check_structure(spec: str, config: ConfigDict, name: str, default: str) -> None:
  """Holds a config of the user's own to the keys of the experiment's.

  Raises:
    UserError: a key is missing, or one is there that the experiment does not have.
  """
  known = _known(name, default, config.to_dict())
  if not known:
    return
  lacking = min({*_fixed(known)} - {*_fixed(config.to_dict())}, default=None)
  if lacking is not None:
    raise UserError(f'{spec} lacks key {lacking}; {_has_all(name, default)}')
  _refuse_unknown(spec, config.to_dict(), known, name, default)


def _refuse_unknown(where: str, config: Mapping[str, Any], known: Mapping[str, Any], name: str, default: str) -> None:
  keys = {*_fixed(known)}
  unknown = min({*_fixed(config)} - keys, default=None)
  if unknown is not None:
    near = difflib.get_close_matches(unknown, keys, 1)
    meant = f' ({near[0]} is one)' if near else ''
    raise UserError(f'{where} has an unknown key {unknown}{meant}; {_has_all(name, default)}')


def _has_all(name: str, default: str) -> str:
  return f'configs/{name}/{default}.py has what experiments.{name} reads'


def _fixed(tree: Mapping[str, Any], prefix: str = '') -> Iterator[str]:
  """Dotted keys, without what lies in sections that are a user's own choice."""
  for key, value in tree.items():
    yield prefix + key
    if isinstance(value, Mapping) and key not in _OPEN:
      yield from _fixed(value, f'{prefix}{key}.')


def read_stored(workdir: pathlib.Path, name: str, default: str, renamed: Mapping[str, str]) -> dict[str, Any] | None:
  """The config that a workdir was made with, as the present code spells it; None if the workdir holds no run.

  A key that was renamed since has its new name, one that went elsewhere is left out, and one that was not yet known
  has the value of the experiment's base config.

  Raises:
    UserError: the file is damaged, or has a key that no config of the experiment has, as a misspelt one.
  """
  path = workdir / 'config.json'
  if not path.exists():
    return None
  stored = _respelled(sealed.read_json(path), renamed)
  known = _known(name, default, stored)
  if known:
    _refuse_unknown(str(path), stored, known, name, default)
  return _filled(stored, known)


def _known(name: str, default: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
  """The experiment's base config, or its default one, whose keys all of its configs have; {} where there is none.

  A config whose model.kind is KIND has the keys of _KIND.py, if there is one.
  """
  folder = REPOSITORY / 'configs' / name
  model = config.get('model')
  kind = model.get('kind') if isinstance(model, Mapping) else None
  for base in (f'_{kind}.py', '_base.py'):
    if isinstance(kind, str | None) and (folder / base).exists():
      return _module(folder / base, base).base().to_dict()
  if (folder / f'{default}.py').exists():
    return load_config(str(folder / f'{default}.py'))[1].to_dict()
  return {}


def check_name(argument: str, renamed: Mapping[str, str], where: str = '') -> None:
  """Raises UserError, with the new name, if `argument` is an old spelling such as '--config.words' or '--mode=eval'."""
  for old, new in renamed.items():
    rest = argument.removeprefix(old)
    if argument.startswith(old) and rest[:1] in ('', '.', '['):
      rest = rest if _KEY in new else ''
      raise UserError(f'{where}{argument} is now {new}{rest}')


def check_key(config: ConfigDict, dotted: str) -> None:
  """Raises UserError if the config has no such key, or it is a section; the section's keys are named."""
  node: Any = config
  seen = 'config'
  for part in dotted.split('.'):
    part, bracket, index = part.partition('[')
    if not isinstance(node, ConfigDict) or part not in node:
      keys = f'its keys are {", ".join(node.keys())}' if isinstance(node, ConfigDict) else 'it is a single value'
      raise UserError(f'{seen} has no key {part!r}; {keys}')
    seen, node = f'{seen}.{part}', node[part]
    if bracket:
      raise UserError(f'{seen}[{index} cannot be set, as no part of a value can; {seen} is {node!r}: give the whole')
  if isinstance(node, ConfigDict) and part not in _OPEN:  # given whole, it would lose the keys that are not named
    raise UserError(f'{seen} is a section, whose keys are set one by one: --{seen}.{next(iter(node), "KEY")}=...')


def as_written(value: Any) -> Any:
  """JSON's lists as the tuples they were in the config."""
  if isinstance(value, dict):
    return {key: as_written(item) for key, item in value.items()}
  return tuple(map(as_written, value)) if isinstance(value, list) else value


def differences(old: Mapping[str, Any], new: Mapping[str, Any], free: Sequence[str] = ()) -> str:
  """'train.steps: 10 there, 20 here; ...' for every leaf that differs outside of `free`; '' when none does."""
  old_flat, new_flat = dict(leaves(old)), dict(leaves(new))
  is_free = lambda key: any(key == name or key.startswith(name + '.') for name in free)
  keys = [key for key in old_flat | new_flat if not is_free(key)]
  show = lambda flat, key: repr(flat[key]) if key in flat else 'absent'
  return '; '.join(
    f'{key}: {show(old_flat, key)} there, {show(new_flat, key)} here'
    for key in keys
    if show(old_flat, key) != show(new_flat, key)
  )


def leaves(tree: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
  """Dotted keys and values; a tuple as the list that JSON makes of it."""
  for key, value in tree.items():
    if isinstance(value, Mapping):
      yield from leaves(value, f'{prefix}{key}.')
    else:
      yield prefix + key, list(value) if isinstance(value, tuple) else value


def variants(folder: pathlib.Path) -> list[str]:
  return sorted(path.stem for path in folder.glob('*.py') if not path.stem.startswith('_'))


def _module(file: pathlib.Path, shown: str) -> Any:
  module_spec = importlib.util.spec_from_file_location(f'config_{file.stem}', file)
  if module_spec is None or module_spec.loader is None:
    raise UserError(f'{shown} is not a Python file')
  module = importlib.util.module_from_spec(module_spec)
  with _in_one_line(file, shown):
    module_spec.loader.exec_module(module)
  return module


@contextlib.contextmanager
def _in_one_line(file: pathlib.Path, shown: str) -> Iterator[None]:
  """What a config's own code raises, with the line of the config that raised it."""
  try:
    yield
  except UserError:
    raise
  except SyntaxError as error:
    raise UserError(f'{shown}, line {error.lineno}: {error.msg}') from error
  except (Exception, SystemExit) as error:
    lines = [
      frame.lineno
      for frame in traceback.extract_tb(error.__traceback__)
      if pathlib.Path(frame.filename).resolve() == file.resolve()
    ]
    where = f', line {lines[-1]}' if lines else ''
    raise UserError(f'{shown}{where}: {type(error).__name__}: {error}') from error


def _respelled(stored: dict[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
  for old, new in renamed.items():
    if not old.startswith(_KEY):
      continue
    *sections, last = old.removeprefix(_KEY).split('.')
    node: Any = stored
    for section in sections:
      node = node.get(section, {}) if isinstance(node, dict) else {}
    if not isinstance(node, dict) or last not in node:
      continue
    value = node.pop(last)
    if new.startswith(_KEY):
      *sections, last = new.removeprefix(_KEY).split('.')
      node = stored
      for section in sections:
        node = node.setdefault(section, {})
      node[last] = value
  return stored


def _filled(stored: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
  filled = dict(stored)
  for key, value in known.items():
    if key not in stored:
      filled[key] = value
    elif isinstance(value, Mapping) and isinstance(stored[key], dict) and key not in _OPEN:
      filled[key] = _filled(stored[key], value)
  return filled
