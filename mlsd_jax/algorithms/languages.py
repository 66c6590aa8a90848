"""Programs in several languages: found, compiled, ready to be run."""

import dataclasses
import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.pool import Pool, Process
from mlsd_jax.errors import UserError

_SYSTEM = ('/usr/', '/bin/', '/sbin/', '/nix/store/', '/gnu/store/')
_TESTLIB = pathlib.Path(__file__).parent / 'headers' / 'testlib.h'
_COMPILE = Limits(time=60, wall=120, memory=2048 * MEBIBYTE, output=512 * MEBIBYTE, processes=64)
# -c and not py_compile.main, which would leave its cache beside the source.
_PYTHON_CHECK = (
  'import sys, warnings; warnings.simplefilter("ignore")\n'
  'for path in sys.argv[1:]: compile(open(path, "rb").read(), path, "exec", dont_inherit=True)'
)


@dataclasses.dataclass(frozen=True)
class Language:
  """How a language is compiled and started.

  In a command {files} stands for all sources, {source} for their folder, {main} for the one to start, {out} for the
  built program or folder, {stem} for the main file's name without suffix, {megabytes} for the memory limit.

  Attributes:
    suffixes: of its source files.
    tools: executables that are needed; of each group the first that is found stands for {0}, {1}.
    compile, run: the commands.
    managed: its runtime keeps to the memory limit by itself and reserves more than it touches.
    home: command that prints the folder in which its tools are installed, where that may be outside of the system's.
  """

  name: str
  suffixes: tuple[str, ...]
  tools: tuple[tuple[str, ...], ...]
  compile: tuple[str, ...]
  run: tuple[str, ...]
  managed: bool = False
  home: tuple[str, ...] = ()


LANGUAGES = (
  Language('Python', ('.py', '.py3'), ((sys.executable,),), ('{0}', '-c', _PYTHON_CHECK, '{files}'), ('{0}', '{main}')),
  Language(
    'C++',
    ('.cc', '.cpp', '.cxx', '.c++', '.C'),
    (('g++', 'clang++', 'c++'),),
    ('{0}', '-O2', '-std=gnu++20', '-pipe', '-I', '{source}', '-o', '{out}', '{files}', '-pthread'),
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
  Language(
    'Rust',
    ('.rs',),
    (('rustc',),),
    ('{0}', '-O', '--edition=2021', '-o', '{out}', '{main}'),
    ('{out}',),
    home=('{0}', '--print', 'sysroot'),  # {0} may be rustup's, which looks for the compiler in the user's folder
  ),
  Language(
    'JavaScript',
    ('.js', '.mjs'),
    (('node',), ('sh',)),
    ('{1}', '-c', 'for file; do "$0" --check "$file" || exit 1; done', '{0}', '{files}'),  # --check takes one file
    ('{0}', '{main}'),
    managed=True,
  ),
)


@dataclasses.dataclass(frozen=True)
class Program:
  """A program that is ready to run, or the reason why it is not.

  Attributes:
    name: what to call it in tables.
    argv: the command; {megabytes} in it stands for the memory limit.
    managed, folder, toolchain, shows_library: see `pool.Process`.
    compile_error: what the compiler said when it refused; None when it did not.
  """

  name: str
  argv: tuple[str, ...]
  managed: bool = False
  folder: pathlib.Path | None = None
  toolchain: tuple[str, ...] = ()
  shows_library: bool = False
  compile_error: str | None = None

  def process(
    self,
    limits: Limits,
    stdin: pathlib.Path | bytes | None = None,
    args: Sequence[str] = (),
    *,
    case: pathlib.Path | None = None,
    feedback: pathlib.Path | None = None,
  ) -> Process:
    argv = [part.replace('{megabytes}', str(limits.memory // MEBIBYTE)) for part in self.argv]
    return Process(
      [*argv, *args],
      limits,
      stdin,
      managed=self.managed,
      folder=self.folder,
      case=case,
      feedback=feedback,
      toolchain=self.toolchain,
      shows_library=self.shows_library,
    )


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
  path = str(pathlib.Path(found).absolute())
  return Program(pathlib.Path(argv[0]).name, (path, *argv[1:]), toolchain=_outside(path))


def build(path: str | os.PathLike[str], folder: pathlib.Path, pool: Pool, main: str = '') -> Program:
  """A source file, or a folder of them, copied and compiled into `folder`; an executable file is copied.

  A folder with an executable file `run` is started by it, after its `build` where there is one.

  A program sees nothing of where it came from, and its compiler nothing but the copy. A refusal of the compiler is no
  exception: it is the program's verdict.

  Args:
    main: of a folder, the file to start, such as 'ac.py'; by default the one named main, else in Java the first with a
      main method, else the first.

  Raises:
    UserError: no such file, a language not known here, or its compiler is not installed.
  """
  path = pathlib.Path(path).absolute()
  files, language = look_at(path)
  if language is None and path.is_dir():
    return _by_scripts(path, files, folder, pool)
  if language is None:
    (copy,) = _copy([path], path.parent, folder)
    return Program(path.name, (str(copy),), folder=folder)
  sources = [each for each in files if each.suffix in language.suffixes]
  start = _start(sources, language, main)
  if language.name == 'Python' and re.match(r'#!.*python2', start.read_bytes()[:80].decode(errors='replace')):
    raise UserError(f'{path} is written for Python 2, which cannot be run here')
  tools, toolchain = _tools(language)
  if language.name in ('C', 'C++') and path.is_file():
    files = [path, *_headers(path)]
  copies = _copy(files, path if path.is_dir() else path.parent, folder)
  sources, (start,) = ([copies[files.index(each)] for each in group] for group in (sources, [start]))
  return _compile(path.name, language, tools, toolchain, sources, start, folder, pool)


def look_at(path: pathlib.Path) -> tuple[list[pathlib.Path], Language | None]:
  """What `build` would take: the files, and their language; None of an executable file and a folder with a `run`.

  Raises:
    UserError: no such file, or a language not known here.
  """
  if not path.exists():
    raise UserError(f'no such file: {path}')
  if not path.is_dir() and not path.is_file():  # a pipe would be waited on
    raise UserError(f'{path} is neither a file nor a folder')
  files = sorted(each for each in path.rglob('*') if each.is_file()) if path.is_dir() else [path]
  if (path / 'run').is_file() and os.access(path / 'run', os.X_OK):
    return files, None
  language = next((found for each in files if (found := language_of(each))), None)
  if language is None and not (path.is_file() and os.access(path, os.X_OK)):
    known = ', '.join(suffix for each in LANGUAGES for suffix in each.suffixes)
    raise UserError(f'{path} is in no language known here ({known}) and no executable file')
  return files, language


def describe_start(path: pathlib.Path) -> str:
  """Which of its programs `build` starts of a folder, in a line; '' where there is nothing to choose.

  Raises:
    UserError: as `look_at`.
  """
  files, language = look_at(path)
  programs = [each for each in files if language_of(each)]
  if language is None or len(programs) < 2:
    return ''
  ours = [each for each in programs if each.suffix in language.suffixes]
  names = [str(each.relative_to(path)) for each in programs]
  held = f'{len(names)} source files, {", ".join(names[:8])}{", ..." if len(names) > 8 else ""}'
  if language.name in ('C', 'C++'):
    return f'{path} holds {held}: {"all" if ours == programs else f"those in {language.name}"} are compiled into one'
  return f'{path} holds {held}: {_start(ours, language, "").relative_to(path)} is started'


def _by_scripts(path: pathlib.Path, files: Sequence[pathlib.Path], folder: pathlib.Path, pool: Pool) -> Program:
  """A folder with a script `run`, and perhaps one `build` to be called first, as packages may have for validators."""
  _copy(files, path, folder)
  source = folder / 'source'
  source.chmod(0o777)
  program = Program(path.name, (str(source / 'run'),), folder=folder)
  if not (source / 'build').is_file():
    return program
  argv = ['/bin/sh', '-c', 'cd "$0" && ./build', str(source)]
  outcome = pool.run(Process(argv, _COMPILE, managed=True, folder=folder, compiles=True))[0]
  if outcome.error:
    raise UserError(f'{path}/build could not be run: {outcome.error}')
  if outcome.exit_code != 0:
    said = outcome.stderr or outcome.output.decode(errors='replace')
    return dataclasses.replace(program, compile_error=said.strip() or f'build ended with {outcome.ending}')
  return program


def _start(sources: Sequence[pathlib.Path], language: Language, name: str) -> pathlib.Path:
  """The file to start; see `build`."""
  named = [each for each in sources if name and name in (each.name, each.stem)]
  named = named or [each for each in sources if each.stem.lower() == 'main']
  if not named and language.name == 'Java':
    named = [each for each in sources if 'void main' in each.read_text(errors='replace')]
  return (named or list(sources))[0]


def _compile(
  name: str,
  language: Language,
  tools: list[str],
  toolchain: tuple[str, ...],
  sources: Sequence[pathlib.Path],
  main: pathlib.Path,
  folder: pathlib.Path,
  pool: Pool,
) -> Program:
  out = folder / 'program'
  words = {'main': str(main), 'out': str(out), 'stem': main.stem, 'source': str(folder / 'source')}
  fill = lambda parts: tuple(part if '\n' in part else _fill(part, words, tools) for part in parts)
  if language.name == 'Java':
    out.mkdir(exist_ok=True)
    out.chmod(0o777)
  program = Program(name, fill(language.run), language.managed, folder, toolchain)
  if not language.compile:
    return program
  before, _, after = (part for part in _around(language.compile, '{files}'))
  argv = [*fill(before), *(map(str, sources) if '{files}' in language.compile else ()), *fill(after)]
  process = Process(argv, _COMPILE, managed=True, folder=folder, compiles=True, toolchain=toolchain)
  outcome = pool.run(process)[0]
  if outcome.error:
    raise UserError(f'{language.name} could not be compiled: {outcome.error}')
  if outcome.exit_code != 0:
    said = outcome.stderr or outcome.output.decode(errors='replace')
    return dataclasses.replace(program, compile_error=said.strip() or f'the compiler ended with {outcome.ending}')
  if language.name == 'Java':
    program = dataclasses.replace(program, argv=(*program.argv[:-1], _java_class(out, main)))
  return program


def _headers(source: pathlib.Path) -> list[pathlib.Path]:
  """Files beside a source that it includes by name; testlib.h is ours where there is none."""
  found: dict[str, pathlib.Path] = {}
  waiting = [source]
  while waiting:
    text = waiting.pop().read_text(errors='replace')
    for name in re.findall(r'^\s*#\s*include\s*["<]([\w.+-]+)[">]', text, re.MULTILINE):
      path = source.with_name(name)
      if name == 'testlib.h' and not path.is_file():
        path = _TESTLIB
      if path.is_file() and name not in found and path != source:
        found[name] = path
        waiting.append(path)
  return list(found.values())


def _copy(files: Sequence[pathlib.Path], top: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
  """Copies of files, that everybody may read and their compiler may write beside."""
  copies = []
  folder.mkdir(parents=True, exist_ok=True)
  folder.chmod(0o777)  # in a folder of ours that nobody else enters
  for file in files:
    copy = folder / 'source' / (file.relative_to(top) if file.is_relative_to(top) else file.name)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, copy)
    copy.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
    copies.append(copy)
  for each in (folder / 'source').rglob('*'):
    if each.is_dir():
      each.chmod(0o755)
  (folder / 'source').chmod(0o755)
  return copies


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


def _tools(language: Language) -> tuple[list[str], tuple[str, ...]]:
  """Its executables, and what of them lies outside of the system's folders."""
  found = []
  for names in language.tools:
    tool = next((path for name in names if (path := shutil.which(name))), None)
    if tool is None:
      raise UserError(f'{language.name} cannot be compiled or run here: none of {", ".join(names)} is on the PATH')
    found.append(tool)
  if language.name == 'Python':
    return found, ()
  outside = tuple(path for tool in found for path in _outside(tool))
  if language.home and outside:
    asked = subprocess.run([_fill(part, {}, found) for part in language.home], capture_output=True, text=True)
    home = asked.stdout.strip()
    if asked.returncode or not home:
      raise UserError(f'{language.name} cannot be compiled here: {asked.stderr.strip()[:200]}')
    return [f'{home}/bin/{pathlib.Path(tool).name}' for tool in found], (home,)
  return found, outside


def _outside(tool: str) -> tuple[str, ...]:
  """The installation that an executable belongs to, its bin/ and lib/, where that is none of the system's."""
  if tool.startswith(_SYSTEM):
    return ()
  real = pathlib.Path(os.path.realpath(tool))
  top = real.parent.parent if real.parent.name == 'bin' else real.parent
  kept = [str(top / name) for name in ('bin', 'lib', 'lib64', 'libexec', 'include', 'share', 'conf', 'jmods')]
  return (tool, *kept) if real.parent.name == 'bin' else (tool, str(real))


def _java_class(out: pathlib.Path, main: pathlib.Path) -> str:
  """The class to start, with its package: named as the file, else the only one in the source with a main method."""
  text = main.read_text(errors='replace')
  package = re.search(r'^\s*package\s+([\w.]+)\s*;', re.sub(r'/\*.*?\*/', '', text, flags=re.DOTALL), re.MULTILINE)
  prefix = f'{package[1]}.' if package else ''
  name = main.stem
  if not (out / f'{prefix.replace(".", "/")}{name}.class').exists():
    found = re.findall(r'(?:class|record|enum)\s+(\w+)[^{]*\{', text.partition('void main')[0])
    name = found[-1] if found else name
  return prefix + name
