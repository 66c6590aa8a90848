"""Judges every hostile program and tells, as JSON, what was not as meant and what was left behind.

Called by test_hostile.py: python run_hostile.py FOLDER, through as_user.py where another user or kernel is played.
"""

import concurrent.futures
import json
import os
import pathlib
import socket
import string
import subprocess
import sys
import time

import hostile_programs

from mlsd_jax.algorithms.cage import processes
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.verdicts import Case

PROGRAMS = hostile_programs.read()
LIMITS = Limits(time=0.4, memory=64 * MEBIBYTE, output=1 * MEBIBYTE, processes=8)
LIBRARY = pathlib.Path(processes.__file__).parent.parent


def world(folder):
  """What is there outside of the cage, that must be the same afterwards."""
  return {
    'files': sorted(path.name for path in folder.iterdir() if path.name != 'build'),
    'answer': [(folder / name).read_text() for name in ('secret.in', 'secret.ans')],
    'shared': sorted(path.name for place in ('/dev/shm', '/var/tmp') for path in pathlib.Path(place).glob('*mlsd*')),
    'mounts': pathlib.Path('/proc/self/mountinfo').read_text().count('\n'),
    'objects': [pathlib.Path(f'/proc/sysvipc/{name}').read_text() for name in ('shm', 'msg', 'sem')],
    'host': socket.gethostname(),
  }


def main():
  folder = pathlib.Path(sys.argv[1])
  temporary = folder / 'temporary'  # TMPDIR, for the judge
  os.environ['JUDGE_SECRET'] = 'hidden'
  (folder / 'secret.in').write_text('5\n')
  (folder / 'secret.ans').write_text('6\n')
  server, named, abstract = socket.create_server(('127.0.0.1', 0)), *(socket.socket(socket.AF_UNIX) for _ in range(2))
  named.bind(str(folder / 'socket'))
  bystander = subprocess.Popen(['sleep', '600'])
  abstract.bind(f'\0mlsd-{bystander.pid}')
  for each in (named, abstract):
    each.listen()
  names = {
    'answer': folder / 'secret.ans',
    'folder': folder,
    'cwd': pathlib.Path.cwd(),
    'reference': LIBRARY / 'design' / 'lru_cache.py',
    'sample': LIBRARY / 'contests' / '2044' / 'A.out',
    'bystander': bystander.pid,
    'port': server.getsockname()[1],
    'host': '127.0.0.1',
  }
  case = Case('1', folder / 'secret.in', folder / 'secret.ans')
  before, wrong = world(folder), []
  try:
    with Pool(2) as pool:

      def run(index, name):
        expected, code = PROGRAMS[name]
        path = folder / 'build' / f'{index}.py'
        path.parent.mkdir(exist_ok=True)
        path.write_text(string.Template(code).safe_substitute(names))
        program = build(path, folder / 'build' / str(index), pool)
        report = judge(program, [case], pool=pool, limits=LIMITS)
        if report.verdict != expected:
          result = report.failure
          said = f'{result.message}; {result.outcome.stderr[-300:]}' if result else report.compile_error
          wrong.append(f'{name}: {report.verdict}, not {expected}; {said}')

      with concurrent.futures.ThreadPoolExecutor(2) as executor:
        list(executor.map(run, range(len(PROGRAMS)), PROGRAMS))
      left = [pid for pid in processes.descendants(os.getpid()) if pid != bystander.pid]
      supervisors = [pid for pid in left if int((processes.stat(pid) or [0, 0])[1]) == os.getpid()]
      missing = pool.missing
    after = world(folder)
    wrong += [f'{name} was {before[name]}, is {after[name]}' for name in before if before[name] != after[name]]
    if set(left) != set(supervisors):
      wrong.append(f'processes left: {set(left) - set(supervisors)}')
    if bystander.poll() is not None:
      wrong.append('the bystander is dead')
    if list(temporary.iterdir()):
      wrong.append(f'left in the temporary folder: {[path.name for path in temporary.iterdir()]}')
  finally:
    bystander.kill()
    bystander.wait()
  print(json.dumps({'wrong': wrong, 'programs': len(PROGRAMS), 'missing': missing, 'user': os.getuid()}))


if __name__ == '__main__':
  began = time.monotonic()
  main()
  print(f'{time.monotonic() - began:.1f} s', file=sys.stderr)
