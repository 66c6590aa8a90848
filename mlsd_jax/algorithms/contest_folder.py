"""A contest's folder: a program and samples for each problem, laid out by hand, from a browser, or from cph's files."""

import http.server
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlsd_jax import files, reading
from mlsd_jax.algorithms import packages
from mlsd_jax.algorithms.languages import language_of
from mlsd_jax.algorithms.verdicts import Case
from mlsd_jax.errors import UserError

PORT = 10043  # where competitive-companion looks for tools, among others
_SAMPLES = ('.in', '.out', '.ans')
_LARGEST = 64 << 20  # bytes of what a browser may send
_TEMPLATE = '''"""{title}.

What is asked, in your own words.
"""

import sys


def solve(words):
  """The answer to one test case, from the words of the input."""
  n = int(next(words))
  return n


def main():
  words = iter(sys.stdin.buffer.read().split())
  print('\\n'.join(str(solve(words)) for _ in range(int(next(words)))))


main()
'''


def letters(text: str) -> list[str]:
  """Problems of a contest: 'A-D,F' is A, B, C, D, F; 'A1-A3' is A1, A2, A3; 'a-c' is A, B, C.

  Raises:
    UserError: it is something else, or a range that runs backward.
  """
  found: list[str] = []
  for part in text.upper().split(','):
    match = re.fullmatch(r'([A-Z])(\d*)(?:-([A-Z])(\d*))?', part.strip())
    if match is None:
      raise UserError(f'--problems={text} is not like A-D, A1-A3 or A,C1,C2')
    letter, number, last, last_number = match.groups()
    if last is None:
      found.append(letter + number)
    elif not number and not last_number and letter <= last:
      found += [chr(code) for code in range(ord(letter), ord(last) + 1)]
    elif number and last_number and letter == last and int(number) <= int(last_number):
      found += [f'{letter}{each}' for each in range(int(number), int(last_number) + 1)]
    else:
      raise UserError(f'--problems={text}: {part.strip()} is no range; A-D and A1-A3 are')
  return list(dict.fromkeys(found))


def new_contest(folder: pathlib.Path, names: Sequence[str]) -> list[pathlib.Path]:
  """Lays out a folder with a program and an empty sample for each problem; what is there stays as it is."""
  made = []
  for name in names:
    made += _program(folder, name)
    made += _write_new({folder / f'{name}.in': '', folder / f'{name}.out': ''})
  return made


def _program(folder: pathlib.Path, name: str) -> list[pathlib.Path]:
  if any(language_of(path) for path in folder.glob(f'{name}.*')):
    return []
  return _write_new({folder / f'{name}.py': _TEMPLATE.format(title=f'{folder.name} {name}')})


def _write_new(texts: Mapping[pathlib.Path, str]) -> list[pathlib.Path]:
  """Writes files that are not there, or are empty and get a text; those that were written."""
  made = []
  for path, text in texts.items():
    if not path.exists() or (text and path.stat().st_size == 0):
      files.write_text(path, text)
      made.append(path)
  return made


def fill(folder: pathlib.Path, problem: Mapping[str, Any]) -> tuple[str, list[pathlib.Path]]:
  """Puts the samples of a problem, as competitive-companion and cph describe it, into a contest's folder.

  Returns:
    The problem's letter and the files that were written.

  Raises:
    UserError: it is no such description.
  """
  tests = problem.get('tests')
  good = isinstance(tests, list) and all(
    isinstance(test, Mapping) and isinstance(test.get('input'), str) and isinstance(test.get('output'), str)
    for test in tests
  )
  if not good:
    raise UserError('a problem needs "tests", a list of objects with "input" and "output"')
  assert isinstance(tests, list)
  name = _letter(folder, problem)
  made = _program(folder, name)
  for number, test in enumerate(tests, 1):
    stem = name if number == 1 else f'{name}-{number}'
    made += _write_new({folder / f'{stem}.in': test['input'], folder / f'{stem}.out': test['output']})
  return name, made


def _letter(folder: pathlib.Path, problem: Mapping[str, Any]) -> str:
  """From the name ('C1. Sums'), the page's address (.../problem/C1), or the first letter that is free."""
  for text, pattern in (
    (problem.get('name', ''), r'\s*([A-Z]\d?)(?:\s*[.):](?:\s|$)|\s+[-\u2013]\s)'),  # and not X-Ray or E.T.
    (problem.get('url', ''), r'.*/(?:problem/|\w+_)([A-Za-z]\d?)/?(?:\?.*)?$'),
  ):
    match = re.match(pattern, str(text))
    if match:
      return match[1].upper()
  free = (letter for letter in map(chr, range(ord('A'), ord('Z') + 1)) if not (folder / f'{letter}.in').exists())
  letter = next(free, None)
  if letter is None:
    raise UserError(f'{folder} has problems A to Z already')
  return letter


def read_problems(path: pathlib.Path) -> Iterator[Mapping[str, Any]]:
  """Descriptions in a .prob or .json file, or in all of a folder such as .cph.

  Raises:
    UserError: there is none, or one cannot be read.
  """
  found = sorted([*path.glob('*.prob'), *path.glob('*.json')]) if path.is_dir() else [path]
  if not found or not path.exists():
    raise UserError(f'{path} holds no .prob or .json file')
  for file in found:
    yield _described(reading.parse_json(reading.read_text(file), str(file), unique=True), str(file))


def _described(value: Any, what: str) -> Mapping[str, Any]:
  if not isinstance(value, Mapping):
    raise UserError(f'{what} is no description of a problem: a JSON object with "tests" is')
  return value


def listen(port: int, receive: Callable[[Mapping[str, Any]], None]) -> http.server.HTTPServer:
  """A server on this machine alone that takes what the browser extension competitive-companion sends.

  Its `handle_request` serves one; `received` says how many of the batch have come, `expected` how many it has.

  Raises:
    UserError: the port is taken.
  """

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
      try:
        size = int(self.headers.get('Content-Length', ''))
        if not 0 <= size <= _LARGEST:
          raise ValueError(f'{size} bytes')
        problem = _described(json.loads(self.rfile.read(size)), 'what was sent')
        receive(problem)
      except (ValueError, UserError, RecursionError) as error:
        return self._answer(400, str(error))
      batch = problem.get('batch')
      server.expected = batch.get('size', 1) if isinstance(batch, Mapping) else 1  # type: ignore[attr-defined]
      server.received += 1  # type: ignore[attr-defined]
      return self._answer(200, '')

    def _answer(self, code: int, text: str) -> None:
      self.send_response(code)
      self.end_headers()
      self.wfile.write(text.encode())

    def log_message(self, format: str, *args: Any) -> None:
      pass

  try:
    server = http.server.HTTPServer(('127.0.0.1', port), Handler)
  except OSError as error:
    raise UserError(f'port {port} cannot be listened on: {error.strerror}; --port=N takes another') from error
  server.received, server.expected = 0, 1  # type: ignore[attr-defined]
  return server


def find(name: str, folder: pathlib.Path) -> tuple[list[pathlib.Path], list[Case]] | None:
  """A problem of a contest's folder: the programs that are there for it, and the cases that are its own.

  Args:
    name: '9999/A' or 'contests/9999/A'; with the ending of a program it stands for that one alone, with that of a
      sample for the problem.

  Returns:
    None where no such problem is laid out.

  Raises:
    UserError: its samples are still empty, or there are none beside its program.
  """
  given = pathlib.Path(name)
  for path in (given, folder / given):
    if path.is_dir() or not path.parent.is_dir():
      continue
    stems = [path.name, path.name.upper()]
    if path.is_file() and (language_of(path) or path.suffix in _SAMPLES):
      stems.append(path.stem)
    for stem in stems:
      if (path.parent / f'{stem}.in').is_file():
        of_it = [each for each in sorted(path.parent.glob(f'{stem}.*')) if language_of(each)]
        written = [each for each in of_it if not _is_untouched(each)]  # who writes C++ leaves the .py that was laid out
        return [path] if path in of_it else written or of_it, own_cases(path.parent, stem)
    lone = next((each for stem in stems for each in sorted(path.parent.glob(f'{stem}.*')) if language_of(each)), None)
    if lone is not None:
      raise UserError(f'{lone} has no samples: put {lone.stem}.in and {lone.stem}.out beside it')
  return None


def _is_untouched(path: pathlib.Path) -> bool:
  as_laid_out = _TEMPLATE.format(title=f'{path.absolute().parent.name} {path.stem}').encode()
  return path.stat().st_size == len(as_laid_out) and path.read_bytes() == as_laid_out


def problems_of(folder: pathlib.Path) -> list[str]:
  """The problems of a folder: what has a program and samples by one name."""
  programs = sorted(path.stem for path in folder.glob('*') if language_of(path))
  return [stem for stem in dict.fromkeys(programs) if (folder / f'{stem}.in').is_file()]


def own_cases(folder: pathlib.Path, stem: str) -> list[Case]:
  cases = packages.sample_cases(folder, stem)
  filled = [case for case in cases if Case.read(case.input) or (case.answer and Case.read(case.answer))]
  if not filled:
    raise UserError(f'{folder}/{stem}.in and {stem}.out are empty: fill in a sample, or let --mode=listen do it')
  return filled


def cases_for(folder: pathlib.Path, solution: pathlib.Path) -> list[Case]:
  """Cases of a folder for a program: those that bear its name, where several programs have samples there.

  Raises:
    UserError: the folder is of several problems, and the program's name is of none of them.
  """
  owners = problems_of(folder)
  if solution.stem in owners:
    return own_cases(folder, solution.stem)
  if len(owners) > 1:
    raise UserError(f'{folder} has samples of {", ".join(owners)}; name one of them: --problem={folder}/{owners[0]}')
  return packages.sample_cases(folder)
