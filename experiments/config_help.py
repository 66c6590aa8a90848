"""What --help says of a config: every key, its value, and its comment in the config's source or in a dataclass."""

import ast
import dataclasses
import fnmatch
import functools
import inspect
import io
import pathlib
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping, Sequence

from ml_collections import ConfigDict

from experiments import config_files
from mlsd_jax import schema

WIDTH = 100
_LEFT = 44  # columns of key and value, where both fit

type Path = tuple[str, ...]
type Classes = Sequence[tuple[str, type]]


def describe_keys(file: pathlib.Path, config: ConfigDict, classes: Classes) -> list[str]:
  """One entry a key, in the config's order: 'section.key = value', and the comment behind or below it.

  The comment is the one behind the key in the config's file or in the configs that it imports, else the one of the
  dataclass that the section is made into.

  Args:
    classes: sections, or patterns such as 'rungs.*.model', with their dataclasses. Sections called train and optimizer
      are known.
  """
  comments = dict(_comments(file))
  lines: list[str] = []
  for key, value in config_files.leaves(config.to_dict()):
    path = tuple(key.split('.'))
    for depth in range(1, len(path)):  # what is said of a whole section, before its first key
      said = comments.pop(('section', *path[:depth]), '')
      if said:
        lines += _wrapped(f'  {".".join(path[:depth])}: ', said)
    lines += _entry(key, value, _comment_of(path, comments, classes))
  return lines


def _entry(key: str, value: object, comment: str) -> list[str]:
  value = tuple(value) if isinstance(value, list) else value
  left = _wrapped('  ', f'{key} = {value!r}')
  if not comment:
    return left
  if len(left) > 1 or len(left[0]) > _LEFT - 2:
    return [*left, *_wrapped(' ' * _LEFT, comment)]
  return _wrapped(left[0].ljust(_LEFT), comment)


def _wrapped(start: str, text: str) -> list[str]:
  return textwrap.wrap(
    text, WIDTH, initial_indent=start, subsequent_indent=' ' * min(len(start) + 2 * (not start.strip()), _LEFT)
  )


def _comment_of(path: Path, comments: Mapping[Path, str], classes: Classes) -> str:
  for start in range(len(path)):  # a dictionary that several sections share knows only the end of the path
    found = comments.get(('key', *path) if not start else ('part', *path[start:]), '')
    if found:
      return found
  section = '.'.join(path[:-1])
  known = [cls for pattern, cls in classes if fnmatch.fnmatchcase(section, pattern)]
  if {'train', 'optimizer'} & set(path[-3:-1]):
    from mlsd_jax.training.config import TrainConfig
    from mlsd_jax.training.optimizers import OptimizerConfig

    known.append(OptimizerConfig if path[-2] == 'optimizer' else TrainConfig)
  name = 'mesh' if path[-2:-1] == ('mesh',) else path[-1]
  return next((said for cls in known if (said := _of_class(cls).get(name, ''))), '')


@functools.cache
def _of_class(cls: type) -> dict[str, str]:
  """Comments behind a dataclass's fields; where there is none, what its docstring says of the attribute."""
  attributes = {}
  for match in re.finditer(r'^  (\w+): (.*(?:\n    .*)*)', inspect.getdoc(cls) or '', re.MULTILINE):
    attributes[match[1]] = ' '.join(match[2].split())
  described = schema.describe(cls)
  return {
    field.name: described[field.name].comment or attributes.get(field.name, '') for field in dataclasses.fields(cls)
  }


def _comments(file: pathlib.Path) -> Iterator[tuple[Path, str]]:
  """Comments of a config's file over those of the configs that it imports."""
  source = file.read_text(encoding='utf-8')
  tree = ast.parse(source)
  for node in ast.walk(tree):
    if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('configs.'):
      module = config_files.REPOSITORY.joinpath(*str(node.module).split('.'))
      for imported in (module.with_suffix('.py'), *(module / f'{each.name}.py' for each in node.names)):
        if imported.exists():
          yield from _comments(imported)
  tokens = tokenize.generate_tokens(io.StringIO(source).readline)
  by_line = {token.start[0]: token.string.lstrip('# ') for token in tokens if token.type == tokenize.COMMENT}
  for node in ast.walk(tree):
    if isinstance(node, ast.Return) and node.value:
      yield from _keys(node.value, ('key',), by_line)
    elif isinstance(node, ast.Assign):
      target = ast.unparse(node.targets[0])
      if target.startswith('config.'):
        path = tuple(target.split('.')[1:])
        if node.lineno in by_line:
          yield ('key', *path), by_line.pop(node.lineno)
        yield from _keys(node.value, ('key', *path), by_line)
      else:
        yield from _keys(node.value, ('part',), by_line)


def _keys(node: ast.expr, path: Path, by_line: dict[int, str]) -> Iterator[tuple[Path, str]]:
  """Keys of nested dictionaries and keyword arguments; the comment of a line is that of the first key on it."""
  items: list[tuple[str, int, ast.expr]] = []
  if isinstance(node, ast.Dict):
    pairs = zip(node.keys, node.values, strict=True)
    for key, value in pairs:
      if isinstance(key, ast.Constant):
        items.append((str(key.value), key.lineno, value))
      elif key is None:  # **section(...)
        yield from _keys(value, path, by_line)
  elif isinstance(node, ast.Call):
    for argument in node.args:
      yield from _keys(argument, path, by_line)
    items = [(keyword.arg, keyword.lineno, keyword.value) for keyword in node.keywords if keyword.arg]
  elif isinstance(node, ast.BinOp):
    yield from _keys(node.left, path, by_line)
    yield from _keys(node.right, path, by_line)
  for name, line, value in items:
    if line in by_line:
      is_section = isinstance(value, (ast.Dict, ast.Call)) and value.end_lineno != line and path[0] == 'key'
      yield (('section', *path[1:], name) if is_section else (*path, name)), by_line.pop(line)
    yield from _keys(value, (*path, name), by_line)
