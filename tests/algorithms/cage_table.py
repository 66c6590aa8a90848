"""Prints what the cage holds, by who runs the judge and what the kernel gives: python tests/algorithms/cage_table.py

Each cell is tried: a program attempts what the row rules out, and the cell is "yes" if every attempt was refused. The
table in docs/explanation/algorithms.md is this one (test_cage_table.py). Needs root, to play the others.
"""

import json
import os
import pathlib
import socket
import string
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent.parent))

from mlsd_jax.algorithms.cage import processes
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.verdicts import Case

WAYS = {
  'root': ('--root',),
  'user': (),
  'container, root': ('--root', '--no-namespaces'),
  'container, user': ('--no-namespaces',),
  'no Landlock either, user': ('--no-namespaces', '--without-landlock'),
}
ROWS = {
  'the answer and other files cannot be read': ['open("$answer").read()', 'os.listdir("$folder")'],
  'nothing can be written outside of its own folder': [
    'open("$folder/made", "w")', 'open("/dev/shm/mlsd-made", "w").close(); assert not os.path.islink("/dev/shm")',
  ],
  'all files that it writes together have a limit': [
    '[open(f"f{i}", "wb").write(bytes(1 << 20)) for i in range(40)]',
  ],
  'other processes cannot be seen': ['open("/proc/$bystander/cmdline").read()'],
  'other processes cannot be signalled': ['os.kill($bystander, 0)'],
  "the judge's environment and memory cannot be read": [
    'os.environ["JUDGE_SECRET"]', 'open(f"/proc/{os.getppid()}/environ").read(1)[0]',
    'open("/proc/$judge/environ").read(1)[0]',
  ],
  'no TCP, UDP or raw sockets': [
    'socket.create_connection(("127.0.0.1", $port), 1)', 'socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    'socket.socket(socket.AF_PACKET)',
  ],
  'no local socket of others': [
    'socket.socket(socket.AF_UNIX).connect("$folder/socket")',
    'socket.socket(socket.AF_UNIX).connect("\\0mlsd-$bystander")',
  ],
  'ptrace, mounts, namespaces, keys, bpf, io_uring are refused': [
    f'assert ctypes.CDLL(None).syscall({number}, {first}, 0, 0, 0, 0) != -1'
    for number, first in ((101, 16), (165, 0), (272, 0x10000000), (250, 0), (321, 0), (425, 1))
  ],
  'it runs as another user than the judge': ['assert os.getuid() == $user'],
}  # fmt: skip
LEFT = 'no process of it is left'


def program(attempts, names):
  code = 'import ctypes, os, socket, sys\ndone = 0\n'
  for attempt in attempts:
    line = string.Template(attempt).safe_substitute(names)
    code += f'try:\n  {line}\n  done += 1\nexcept Exception as error: print(error, file=sys.stderr)\n'
  return code + 'if os.fork() == 0:\n  os.setsid()\n  import time\n  time.sleep(99)\nprint(done)'


def probe(folder, without):
  """Each row and whether it holds for who runs this."""
  (folder / 'answer').write_text('secret')
  named, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
  server = socket.create_server(('127.0.0.1', 0))
  bystander = subprocess.Popen(['sleep', '99'])
  named.bind(str(folder / 'socket'))
  abstract.bind(f'\0mlsd-{bystander.pid}')
  named.listen()
  abstract.listen()
  os.environ['JUDGE_SECRET'] = 'x'
  names = {
    'answer': folder / 'answer', 'folder': folder, 'bystander': bystander.pid, 'judge': os.getpid(),
    'port': server.getsockname()[1], 'user': os.getuid(),
  }  # fmt: skip
  held = {}
  try:
    with Pool(1, without=without) as pool:
      for number, (row, attempts) in enumerate(ROWS.items()):
        path = folder / f'{number}.py'
        path.write_text(program(attempts, names))
        built = build(path, folder / f'build{number}', pool)
        limits = Limits(time=5, output=1 * MEBIBYTE)
        result = judge(built, [Case('1', b'', b'0')], pool=pool, limits=limits).results[0]
        held[row] = result.verdict in ('AC', 'OLE')
      left = [pid for pid in processes.descendants(os.getpid()) if pid != bystander.pid]
      held[LEFT] = len(left) == 1  # the supervisor
  finally:
    bystander.kill()
    bystander.wait()
    pathlib.Path('/dev/shm/mlsd-made').unlink(missing_ok=True)
  return held


def table():
  here = pathlib.Path(__file__)
  columns = {}
  for way, options in WAYS.items():
    without = [each for each in options if each.startswith('--without')]
    others = [each for each in options if each not in without]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
      pathlib.Path(name).chmod(0o777)
      command = [sys.executable, str(here.with_name('as_user.py')), *others, sys.executable, str(here), name, *without]
      environment = {**os.environ, 'TMPDIR': name, 'HOME': name}
      done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=here.parent.parent.parent)
      assert done.returncode == 0, done.stderr
      columns[way] = json.loads(done.stdout)
  lines = ['| |' + ''.join(f' {way} |' for way in WAYS), '| --- |' + ' --- |' * len(WAYS)]
  for row in (*ROWS, LEFT):
    lines.append(f'| {row} |' + ''.join(' yes |' if columns[way][row] else ' no |' for way in WAYS))
  return lines


if __name__ == '__main__':
  if len(sys.argv) > 1:
    gaps = ['landlock'] if '--without-landlock' in sys.argv else []
    print(json.dumps(probe(pathlib.Path(sys.argv[1]), gaps)))
  else:
    print('\n'.join(table()))
