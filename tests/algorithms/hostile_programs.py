"""Reads hostile.txt: programs with the verdicts that they must get."""

import pathlib
import re

_CALL = """
import ctypes, os, platform, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(x86, arm, *words):
  return libc.syscall(ctypes.c_long(arm if platform.machine() == 'aarch64' else x86), *map(ctypes.c_long, words))
done = []
"""
_ATTEMPT = """
try:
  {line}
  done.append({line!r})
except Exception as error: print(error, file=sys.stderr)
"""
_END = 'print(done, file=sys.stderr)\nprint(7 if done else 6)\n'


def read():
  """Name to (verdict, program); an attack prints 6 where it was refused and 7 where it succeeded."""
  text = pathlib.Path(__file__).with_name('hostile.txt').read_text()
  programs = {}
  for kind, name, body in re.findall(r'^== (\w+): (.*)\n((?:(?!==).*\n)*)', text, re.MULTILINE):
    assert name not in programs
    if kind in ('refused', 'calls'):
      code = _CALL
      for line in filter(None, body.splitlines()):
        attack = f'assert call({line}) != -1' if kind == 'calls' else line
        code += f'{line}\n' if line.startswith('import ') else _ATTEMPT.format(line=attack)
      programs[name] = 'AC', code + _END
    else:
      programs[name] = kind, body
  return programs
