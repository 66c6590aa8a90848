"""Programs in several languages: found, compiled, ready to be run."""

import dataclasses
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Sequence

from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.pool import Pool, Process
from mlsd_jax.errors import UserError

_COMPILE = Limits(time=60, wall=120, memory=2048 * MEBIBYTE, output=512 * MEBIBYTE, processes=64)
# -c and not py_compile.main, which would leave its cache beside the source.
_PYTHON_CHECK = (
  'import sys, warnings; warnings.simplefilter("ignore")\n'
  'for path in sys.argv[1:]: compile(open(path, "rb").read(), path, "exec", dont_inherit=True)'
)


@dataclasses.dataclass(frozen=True)
class Language:
  """How a language is compiled and started.

  In a command {files} stands for all sources, {main} for the one to start, {out} for the built program or folder,
  {stem} for the main file's name without suffix, {megabytes} for the memory limit.

  Attributes:
    suffixes: of its source files.
    tools: executables that are needed; of each group the first that is found stands for {0}, {1}.
    compile, run: the commands.
    managed: its runtime keeps to the memory limit by itself and reserves more than it touches.
  """

  name: str
  suffixes: tuple[str, ...]
  tools: tuple[tuple[str, ...], ...]
  compile: tuple[str, ...]
  run: tuple[str, ...]
  managed: bool = False


LANGUAGES = (
  Language('Python', ('.py', '.py3'), ((sys.executable,),), ('{0}', '-c', _PYTHON_CHECK, '{files}'), ('{0}', '{main}')),
  Language(
    'C++',
    ('.cc', '.cpp', '.cxx', '.c++', '.C'),
    (('g++', 'clang++', 'c++'),),
    ('{0}', '-O2', '-std=gnu++20', '-pipe', '-o', '{out}', '{files}', '-pthread'),
    ('{out}',),
  ),
  Language(
    'C', ('.c',), (('gcc', 'clang', 'cc'),), ('{0}', '-O2', '-std=gnu17', '-o', '{out}', '{files}', '-lm'), ('{out}',)
  ),
  Language(
    'Java',
    ('.java',),
    (('javac',), ('java',)),
    ('{0}', '-encoding', 'UTF-8', '-d', '{out}', '{files}'),
    # No perf data: its file in /tmp is named by process number, which is 2 in every namespace.
    ('{1}', '-XX:+UseSerialGC', '-XX:-UsePerfData', '-Xss64m', '-Xmx{megabytes}m', '-cp', '{out}', '{stem}'),
    managed=True,
  ),
  Language('Rust', ('.rs',), (('rustc',),), ('{0}', '-O', '--edition=2021', '-o', '{out}', '{main}'), ('{out}',)),
  Language('JavaScript', ('.js', '.mjs'), (('node',),), (), ('{0}', '{main}'), managed=True),
)


@dataclasses.dataclass(frozen=True)
class Program:
  """A program that is ready to run, or the reason why it is not.

  Attributes:
    name: what to call it in tables.
    argv: the command; {megabytes} in it stands for the memory limit.
    managed: see `pool.Process`.
    compile_error: what the compiler said when it refused; None when it did not.
  """

  name: str
  argv: tuple[str, ...]
  managed: bool = False
  compile_error: str | None = None

  def process(
    self, limits: Limits, cwd: str, stdin: str | None, stdout: str | None, args: Sequence[str] = ()
  ) -> Process:
    argv = [part.replace('{megabytes}', str(limits.memory // MEBIBYTE)) for part in self.argv]
    return Process([*argv, *args], cwd, limits, stdin, stdout, self.managed)


def language_of(path: pathlib.Path) -> Language | None:
  return next((language for language in LANGUAGES if path.suffix in language.suffixes), None)


def command(argv: Sequence[str]) -> Program:
  """Any command as a program.

  Raises:
    UserError: its executable is not found.
  """
  found = shutil.which(argv[0])
  if found is None:
    raise UserError(f'no executable {argv[0]!r} on the PATH')
  return Program(pathlib.Path(argv[0]).name, (str(pathlib.Path(found).absolute()), *argv[1:]))


def build(path: str | os.PathLike[str], folder: pathlib.Path, pool: Pool) -> Program:
  """A source file, or a folder of them, compiled into `folder`; an executable file as it is.

  A refusal of the compiler is no exception: it is the program's verdict.

  Raises:
    UserError: no such file, a language not known here, or its compiler is not installed.
  """
  path = pathlib.Path(path).absolute()
  if not path.exists():
    raise UserError(f'no such file: {path}')
  files = sorted(each for each in path.rglob('*') if each.is_file()) if path.is_dir() else [path]
  language = next((found for each in files if (found := language_of(each))), None)
  if language is None:
    if path.is_file() and os.access(path, os.X_OK):
      return Program(path.name, (str(path),))
    known = ', '.join(suffix for each in LANGUAGES for suffix in each.suffixes)
    raise UserError(f'{path} is in no language known here ({known}) and no executable file')
  sources = [each for each in files if each.suffix in language.suffixes]
  main = next((each for each in sources if each.stem.lower() == 'main'), sources[0])
  if language.name == 'Python' and re.match(r'#!.*python2', main.read_bytes()[:80].decode(errors='replace')):
    raise UserError(f'{path} is written for Python 2, which cannot be run here')
  tools = _tools(language)
  folder.mkdir(parents=True, exist_ok=True)
  out = folder / 'program'
  words = {'main': str(main), 'out': str(out), 'stem': main.stem}
  fill = lambda parts: tuple(part if '\n' in part else _fill(part, words, tools) for part in parts)
  if language.name == 'Java':
    out.mkdir(exist_ok=True)
  program = Program(path.name, fill(language.run), language.managed)
  if not language.compile:
    return program
  before, _, after = (part for part in _around(language.compile, '{files}'))
  argv = [*fill(before), *(map(str, sources) if '{files}' in language.compile else ()), *fill(after)]
  log = folder / 'compiler.out'
  outcome = pool.run(Process(argv, str(folder), _COMPILE, None, str(log), managed=True, trusted=True))[0]
  if outcome.error:
    raise UserError(f'{language.name} could not be compiled: {outcome.error}')
  if outcome.exit_code != 0:
    said = outcome.stderr or log.read_text(errors='replace')
    return dataclasses.replace(program, compile_error=said.strip() or f'the compiler ended with {outcome.ending}')
  if language.name == 'Java':
    program = dataclasses.replace(program, argv=(*program.argv[:-1], _java_class(out, main)))
  return program


def _around(parts: Sequence[str], word: str) -> tuple[Sequence[str], str, Sequence[str]]:
  if word not in parts:
    return parts, '', ()
  position = list(parts).index(word)
  return parts[:position], word, parts[position + 1 :]


def _fill(part: str, words: dict[str, str], tools: Sequence[str]) -> str:
  for name, value in words.items():
    part = part.replace('{' + name + '}', value)
  for number, tool in enumerate(tools):
    part = part.replace('{' + str(number) + '}', tool)
  return part


def _tools(language: Language) -> list[str]:
  found = []
  for names in language.tools:
    tool = next((path for name in names if (path := shutil.which(name))), None)
    if tool is None:
      raise UserError(f'{language.name} cannot be compiled or run here: none of {", ".join(names)} is on the PATH')
    found.append(tool)
  return found


def _java_class(out: pathlib.Path, main: pathlib.Path) -> str:
  """The class to start: named as the file, else the only one in the source with a main method."""
  if (out / f'{main.stem}.class').exists():
    return main.stem
  text = main.read_text(errors='replace')
  found = re.findall(r'class\s+(\w+)[^{]*\{', text.partition('void main')[0])
  return found[-1] if found else main.stem
