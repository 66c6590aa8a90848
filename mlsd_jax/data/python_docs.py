"""A corpus that every machine has: the running interpreter's own documentation.

Three parts: the language reference that `help()` shows (pydoc_data), the docstrings of the standard library's sources,
and those of the built-in types and functions. Sources are parsed, never imported, so that nothing is run.
"""

import ast
import builtins
import hashlib
import inspect
import json
import math
import pathlib
import sys
import sysconfig
import types
import warnings
from collections.abc import Iterator

from mlsd_jax import files, folders, sealed
from mlsd_jax.data.documents import Document

# Tests and demonstrations are not documentation; idlelib and lib2to3 document programs, not the library.
_LEFT_OUT = {
  'test',
  'tests',
  'idlelib',
  'lib2to3',
  'turtledemo',
  'site-packages',
  'dist-packages',
  'ensurepip',
  'pydoc_data',
}
_SHORTEST = 30  # characters; below lie one-liners such as 'Return self.'
_VERSION = 1  # of what this file makes: part of the name it is cached under


def documents() -> Iterator[Document]:
  """The corpus, sorted by title. A document is its title with the signature, a blank line, and the text."""
  for line in corpus_file().read_text(encoding='utf-8').splitlines():
    row = json.loads(line)
    yield Document(row['title'], row['text'])


def corpus_file() -> pathlib.Path:
  """The corpus of this interpreter as JSONL in the user cache; built in a second or two, on first use or if damaged."""
  interpreter = hashlib.sha256(f'{_VERSION} {sys.version} {sysconfig.get_path("stdlib")}'.encode()).hexdigest()[:12]
  version = '.'.join(map(str, sys.version_info[:3]))
  path = folders.cache_folder() / 'sources' / 'python_docs' / f'python-{version}-{interpreter}.jsonl'
  lines = lambda: (
    files.to_json({'title': title, 'text': text}, path) + '\n' for title, text in sorted(build().items())
  )
  return sealed.cached_file(path, lambda target: target.write_text(''.join(lines()), encoding='utf-8'))


def build() -> dict[str, str]:
  """Title -> text, each text once."""
  found: dict[str, str] = {}
  seen: set[str] = set()
  for title, heading, doc in _everything():
    text = '\n'.join(line.rstrip() for line in doc.expandtabs().splitlines()).strip()
    if len(text) >= _SHORTEST and text not in seen and title not in found:
      seen.add(text)
      found[title] = f'{heading}\n\n{text}\n'
  return found


def _everything() -> Iterator[tuple[str, str, str]]:
  from pydoc_data import topics

  for topic, doc in sorted(topics.topics.items()):
    yield f'help({topic!r})', topic, doc
  root = pathlib.Path(sysconfig.get_path('stdlib'))
  for path in sorted(root.rglob('*.py')):
    parts = path.relative_to(root).with_suffix('').parts
    if _LEFT_OUT.isdisjoint(parts) and all(part == '__init__' or not part.startswith('_') for part in parts):
      module = '.'.join(part for part in parts if part != '__init__')
      yield from _of_source(_parsed(path), module)
  for written_in_c in (builtins, sys, math):
    yield from _of_module(written_in_c)


def _parsed(path: pathlib.Path) -> ast.Module:
  with warnings.catch_warnings(action='ignore'):  # of invalid escapes, which are nothing to the user
    try:
      return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates and deliberately broken examples that some distributions ship
      return ast.Module([], [])


def _of_source(node: ast.Module | ast.ClassDef, title: str) -> Iterator[tuple[str, str, str]]:
  """(title, heading, docstring) of a module or class and of the public classes and functions in it."""
  doc = ast.get_docstring(node)
  if doc:
    yield title, title, doc
  for child in _definitions(node.body):
    name = f'{title}.{child.name}'
    if child.name.startswith('_'):
      continue
    if isinstance(child, ast.ClassDef):
      yield from _of_source(child, name)
    elif doc := ast.get_docstring(child):
      yield name, f'{name}({ast.unparse(child.args)})', doc


def _definitions(body: list[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
  """Definitions at this level, also those under a condition on the platform."""
  for statement in body:
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
      yield statement
    elif isinstance(statement, ast.If | ast.Try):
      yield from _definitions(statement.body + statement.orelse)


def _of_module(module: types.ModuleType) -> Iterator[tuple[str, str, str]]:
  """The same for what is written in C, whose docstrings only the objects have."""
  prefix = '' if module is builtins else f'{module.__name__}.'
  for name, value in sorted(vars(module).items()):
    if name.startswith('_') or not callable(value):
      continue
    for title, member in [(prefix + name, value), *_methods(prefix + name, value)]:
      if isinstance(doc := member.__doc__, str):
        yield title, title + (getattr(member, '__text_signature__', None) or ''), inspect.cleandoc(doc)


def _methods(title: str, value: object) -> Iterator[tuple[str, object]]:
  if isinstance(value, type):
    for name, member in sorted(vars(value).items()):
      if not name.startswith('_') and callable(member):
        yield f'{title}.{name}', member
