"""Verdicts of programs that behave in every bad way, and that nothing of them is left."""

import json
import os
import pathlib
import shutil
import sys
import tempfile
import textwrap
import time

import pytest

from mlsd_jax.algorithms.cage import processes
from mlsd_jax.algorithms.checking import Checker
from mlsd_jax.algorithms.comparison import Comparison
from mlsd_jax.algorithms.judge import judge
from mlsd_jax.algorithms.languages import build, command
from mlsd_jax.algorithms.limits import MEBIBYTE, Limits
from mlsd_jax.algorithms.pool import Pool, Process
from mlsd_jax.algorithms.verdicts import Case
from mlsd_jax.errors import UserError

LIMITS = Limits(time=0.5, memory=128 * MEBIBYTE, output=1 * MEBIBYTE)

PROGRAMS = {
  'right': ('AC', 'print(int(input()) + 1)'),
  'no newline at the end': ('AC', 'print(6, end="")'),
  'spaces, carriage return, empty lines': ('AC', 'print("6 \\r\\n\\n  ")'),
  'much on standard error': ('AC', 'import sys; print(6); sys.stderr.write("x" * 5_000_000)'),
  'input closed': ('AC', 'import os; os.close(0); print(6)'),
  'output closed after the answer': ('AC', 'import os; print(6, flush=True); os.close(1)'),
  'a thread with a large stack': (
    'AC',
    'import threading; threading.stack_size(1 << 26); threading.Thread(target=print, args=(6,)).start()',
  ),
  'a daemon left behind': (
    'AC',
    """
    import os, time
    if os.fork() == 0:
      os.setsid()
      if os.fork(): os._exit(0)
      time.sleep(1000)
    print(6)
    """,
  ),
  'wrong': ('WA', 'print(7)'),
  'nothing': ('WA', 'pass'),
  'too much': ('WA', 'print(6, 6)'),
  'no text at all': ('WA', 'import sys; sys.stdout.buffer.write(bytes(range(256)))'),
  'right but exit code 3': ('RE', 'print(6); raise SystemExit(3)'),
  'wrong and an exception': ('RE', 'print(7); 1 / 0'),
  'a signal': ('RE', 'import os; print(6, flush=True); os.kill(os.getpid(), 9)'),
  'abort': ('RE', 'import os; os.abort()'),
  'spins': ('TLE', 'print(6, flush=True)\nwhile True: pass'),
  'sleeps': ('TLE', 'import time; print(6, flush=True); time.sleep(100)'),
  'spins in four processes': ('TLE', 'import os; os.fork(); os.fork()\nwhile True: pass'),
  'ignores every signal': (
    'TLE',
    """
    import signal
    for number in set(range(1, 65)) - {9, 19, 32, 33}: signal.signal(number, signal.SIG_IGN)
    while True: pass
    """,
  ),
  'grows': ('MLE', 'kept = []\nwhile True: kept.append(bytearray(1 << 20))'),
  'asks for ten gigabytes': ('MLE', 'print(6)\nkept = bytearray(10 ** 10)'),
  'floods': ('OLE', 'import os\nwhile True: os.write(1, b"x" * 65536)'),
  'floods and minds no error': (
    'OLE',
    'import os\nwhile True:\n  try: os.write(1, b"x" * 65536)\n  except OSError: pass',
  ),
  'syntax error': ('CE', 'print(6'),
  'a null byte': ('CE', 'print(6)\0'),
}


@pytest.fixture(params=['namespaces', 'subreaper'], scope='module')
def any_pool(request):
  """Supervisors that may use PID namespaces, and supervisors that may not."""
  with Pool(2, without=() if request.param == 'namespaces' else ('namespaces',)) as pool:
    yield pool


def verdict(pool, folder, code, limits=LIMITS, **options):
  path = folder / 'program.py'
  path.write_text(textwrap.dedent(code))
  program = build(path, folder / 'build', pool)
  return judge(program, [Case('1', b'5\n', b'6\n')], pool=pool, limits=limits, **options)


@pytest.mark.parametrize('name', PROGRAMS)
def test_verdict(any_pool, tmp_path, name):
  expected, code = PROGRAMS[name]
  report = verdict(any_pool, tmp_path, code)
  assert report.verdict == expected, report.failure and report.failure.message
  if expected != 'CE':
    outcome = report.results[0].outcome
    assert outcome.cpu < 1.2 * LIMITS.time
    assert outcome.output_size <= 1.2 * LIMITS.output
    if expected == 'MLE':
      assert outcome.memory < 1.2 * LIMITS.memory
  assert not [pid for pid in processes.descendants(os.getpid()) if is_a_child_of_a_supervisor(pid)]


def is_a_child_of_a_supervisor(pid):
  fields = processes.stat(pid)
  parent = processes.stat(int(fields[1])) if fields else None
  return parent is not None and int(parent[1]) == os.getpid() and b'supervisor' in arguments(int(fields[1]))


def arguments(pid):
  try:
    with open(f'/proc/{pid}/cmdline', 'rb') as file:
      return file.read()
  except OSError:
    return b''


def test_a_namespace_hides_all_other_processes(pool, tmp_path):
  """kill(-1) reaches nobody, not even the keeper; without namespaces this must never be tried by root."""
  code = 'import os; os.kill(-1, 0)'
  inside = 'import os; raise SystemExit(os.getpid() > 10)'
  if verdict(pool, tmp_path, inside).failure.verdict != 'WA':
    pytest.skip('the kernel gives no PID namespaces here')
  assert 'ProcessLookupError' in verdict(pool, tmp_path, code).results[0].message


def test_processes_that_wait_for_a_processor_are_not_late(pool, tmp_path):
  """More programs at once than there are processors, each well within its own time."""
  spin = 'import time\nwhile time.process_time() < 0.3: pass\nprint(6)'
  path = tmp_path / 'program.py'
  path.write_text(spin)
  with Pool(8) as crowd:
    program = build(path, tmp_path / 'build', crowd)
    report = judge(program, [Case(str(i), b'', b'6') for i in range(8)], pool=crowd, limits=Limits(time=0.6))
  assert report.verdict == 'AC'


def test_what_is_left_when_the_judge_is_killed(tmp_path, start_process, within):
  """kill -9 of the judging process ends supervisors and programs too."""
  code = """
    import sys
    from mlsd_jax.algorithms.limits import Limits
    from mlsd_jax.algorithms.pool import Pool, Process
    with Pool(1) as pool:
      pool.run(Process([sys.executable, '-c', 'import time; time.sleep(600)'], Limits(time=500)))
    """
  judging = start_process([sys.executable, '-c', textwrap.dedent(code)])
  below = []
  while len(below) < 3:
    time.sleep(0.01)
    below = processes.descendants(judging.pid)  # supervisor, keeper, sleeper
  judging.kill()
  judging.wait()
  deadline = time.monotonic() + within(60)
  while any(b'python' in arguments(pid) for pid in below) and time.monotonic() < deadline:
    time.sleep(0.01)
  assert not any(b'python' in arguments(pid) for pid in below)


def test_first_failure_in_order_counts(pool, tmp_path):
  path = tmp_path / 'program.py'
  path.write_text('n = int(input())\nif n == 3: raise SystemExit(1)\nprint(n)')
  cases = [Case(str(n), b'%d' % n, b'%d' % (n if n != 2 else 0)) for n in range(6)]
  program = build(path, tmp_path / 'build', pool)
  report = judge(program, cases, pool=pool, limits=LIMITS)
  assert [each.verdict for each in report.results] == ['AC', 'AC', 'WA', '', '', '']
  assert report.failure.message == "line 1: '2' where '0' is expected"
  report = judge(program, cases, pool=pool, limits=LIMITS, stop_at_first=False)
  assert [each.verdict for each in report.results] == ['AC', 'AC', 'WA', 'RE', 'AC', 'AC']
  assert json.loads(json.dumps(report.to_json()))['cases'][3]['exit_code'] == 1


CHECKERS = {
  'kattis': """
    import pathlib, sys
    wanted, feedback = int(pathlib.Path(sys.argv[2]).read_text()), pathlib.Path(sys.argv[3])
    assert sys.argv[4:] == ['extra']
    words = sys.stdin.read().split()
    (feedback / 'judgemessage.txt').write_text('not a sum')
    if words == ['crash']: sys.exit(7)
    sys.exit(42 if sum(map(int, words)) == wanted else 43)
    """,
  'testlib': """
    import pathlib, sys
    wanted, words = int(pathlib.Path(sys.argv[3]).read_text()), pathlib.Path(sys.argv[2]).read_text().split()
    assert sys.argv[4:] == ['extra']
    print('not a sum', file=sys.stderr)
    if words == ['crash']: sys.exit(9)
    sys.exit(0 if sum(map(int, words)) == wanted else 1)
    """,
}


@pytest.mark.parametrize('convention', CHECKERS)
def test_checkers(pool, tmp_path, convention):
  (tmp_path / 'checker.py').write_text(textwrap.dedent(CHECKERS[convention]))
  checker = Checker(build(tmp_path / 'checker.py', tmp_path / 'checker', pool), convention, ('extra',))
  verdicts = {'print(1, 5)': 'AC', 'print(2, 2)': 'WA', 'print("crash")': 'JE', 'print(6); raise SystemExit(1)': 'RE'}
  for code, expected in verdicts.items():
    report = verdict(pool, tmp_path, code, check=checker)
    assert report.verdict == expected
    if expected == 'WA':
      assert report.results[0].message == 'not a sum'


@pytest.mark.parametrize(
  ('convention', 'right', 'wrong'), [('kattis', {42}, {43}), ('testlib', {0, 7}, {1, 2})], ids=['kattis', 'testlib']
)
def test_a_checker_that_ends_unlike_its_convention_is_at_fault(pool, tmp_path, convention, right, wrong):
  """Exit code 1 of a Kattis validator is Python's own, for an exception."""
  (tmp_path / 'checker.py').write_text('import sys\nsys.exit(int(open(sys.argv[1]).read()))')
  (tmp_path / 'program.py').write_text('')
  checker = Checker(build(tmp_path / 'checker.py', tmp_path / 'checker', pool), convention)
  program = build(tmp_path / 'program.py', tmp_path / 'build', pool)
  codes = (0, 1, 2, 3, 7, 42, 43)
  cases = [Case(str(code), str(code).encode(), b'') for code in codes]
  report = judge(program, cases, pool=pool, limits=LIMITS, check=checker, stop_at_first=False)
  expected = ['AC' if code in right else 'WA' if code in wrong else 'JE' for code in codes]
  assert [each.verdict for each in report.results] == expected


INTERACTOR = """
  import sys
  secret = int(open(sys.argv[1]).read())
  for _ in range(10):
    line = sys.stdin.readline()
    if not line.strip().isdigit(): sys.exit(43)
    guess = int(line)
    print('right' if guess == secret else 'higher' if guess < secret else 'lower', flush=True)
    if guess == secret: sys.exit(42 if not sys.stdin.read().strip() else 43)
  sys.exit(43)
  """
PLAYER = """
  import sys
  low, high = 1, 1000
  while True:
    middle = (low + high) // 2
    print(middle, flush=True)
    answer = input()
    if answer == 'right': break
    low, high = (middle + 1, high) if answer == 'higher' else (low, middle - 1)
  """
PLAYERS = {
  'right': ('AC', PLAYER),
  'no flush': ('TLE', PLAYER.replace(', flush=True', '').replace('input()', 'sys.stdin.readline().strip()')),
  'gives up': ('WA', 'print(1)'),
  'asks on and on': ('WA', 'while True:\n  print(1, flush=True)\n  input()'),
  'wrong, then spins': ('WA', 'print(-1, flush=True)\nwhile True: pass'),
  'right, then exit code 1': ('RE', PLAYER.rstrip() + '\n  raise SystemExit(1)'),
  'right, then talks on': ('WA', PLAYER.rstrip() + '\n  print(1)'),
  'waits for ever': ('TLE', 'input()\ninput()'),
  'spins': ('TLE', 'while True: pass'),
}


@pytest.mark.parametrize('name', PLAYERS)
def test_conversation(any_pool, tmp_path, name):
  expected, code = PLAYERS[name]
  (tmp_path / 'interactor.py').write_text(textwrap.dedent(INTERACTOR))
  interactor = Checker(build(tmp_path / 'interactor.py', tmp_path / 'interactor', any_pool))
  (tmp_path / 'player.py').write_text(textwrap.dedent(code))
  player = build(tmp_path / 'player.py', tmp_path / 'player', any_pool)
  report = judge(player, [Case('1', b'777')], pool=any_pool, limits=LIMITS, interactor=interactor)
  assert report.verdict == expected, report.failure and report.failure.message


CLOSES = """
  import os, sys, time
  answer = sys.stdin.readline()
  os.close(1)
  {then}
  said = sys.stdin.read().split()
  sys.exit(42 if said == ['seen'] else 43)
  """
SEES = "import sys\nprint('hello', flush=True)\nassert not sys.stdin.read()\nprint('seen')"
CLOSING = {  # what the interactor does after it has closed its output; what the program does; verdict
  'and waits': ('', SEES, 'AC'),
  'and computes, then waits': ('end = time.process_time() + 0.3\n  while time.process_time() < end: pass', SEES, 'AC'),
  'and so does a child of it': ('if os.fork(): os.wait()\n  else: time.sleep(0.2); os._exit(0)', SEES, 'AC'),
  'the program too, and both wait': ('', "import os\nprint('hello', flush=True)\nos.close(1)\nos.read(0, 1)", 'WA'),
  'the program alone, and reads on': (
    'os.dup2(os.open("/dev/null", os.O_WRONLY), 1)',
    "import os, sys\nprint('hello', flush=True)\nos.close(1)\nsys.stdin.read()",
    'WA',
  ),
  'the program lets go of the lock': (
    '',
    'import fcntl, sys\nfcntl.flock(1, fcntl.LOCK_UN)\n' + SEES,
    'AC',
  ),
  'then ends with a verdict': ('sys.exit(43)', "import sys\nprint('hello', flush=True)\nsys.stdin.read()\n1 / 0", 'WA'),
}


@pytest.mark.parametrize('name', CLOSING)
def test_who_closes_its_output_and_goes_on_is_seen_as_closed(any_pool, tmp_path, name):
  then, code, expected = CLOSING[name]
  (tmp_path / 'interactor.py').write_text(textwrap.dedent(CLOSES.replace('{then}', then)))
  interactor = Checker(build(tmp_path / 'interactor.py', tmp_path / 'interactor', any_pool))
  (tmp_path / 'player.py').write_text(code)
  player = build(tmp_path / 'player.py', tmp_path / 'player', any_pool)
  report = judge(player, [Case('1', b'')], pool=any_pool, limits=LIMITS, interactor=interactor)
  assert report.verdict == expected, report.failure and report.failure.message


TALKS = "import sys\nfor _ in range(40): sys.stdout.write('x' * 65_535 + '\\n')\nsys.stdout.flush()"
NOTICES = """
  import os, signal
  signal.signal(signal.SIGPIPE, signal.SIG_IGN)
  try:
    while True: os.write(1, b'x' * 999)
  except BrokenPipeError: os._exit(0)
  """
DEAF = {  # what the interactor does once it has closed its input; its exit code; the program; verdict
  'and waits': ('time.sleep(3)', 42, TALKS, 'RE'),
  'and computes, then waits': ('sum(range(10**7)); time.sleep(3)', 43, TALKS, 'RE'),
  'and accepts': ('', 42, TALKS, 'RE'),
  'and refuses': ('', 43, TALKS, 'WA'),
  'and what it left fits': ('time.sleep(0.3)', 42, 'print("x" * 100_000)', 'AC'),
  'and who writes goes on without': ('time.sleep(1)', 42, NOTICES, 'AC'),
}


@pytest.mark.parametrize('name', DEAF)
def test_who_closes_its_input_and_goes_on_breaks_the_pipe_of_who_writes_more_than_it_holds(any_pool, tmp_path, name):
  then, code, program, expected = DEAF[name]
  (tmp_path / 'interactor.py').write_text(f'import os, sys, time\nos.close(0)\n{then}\nsys.exit({code})')
  interactor = Checker(build(tmp_path / 'interactor.py', tmp_path / 'interactor', any_pool))
  (tmp_path / 'player.py').write_text(textwrap.dedent(program))
  player = build(tmp_path / 'player.py', tmp_path / 'player', any_pool)
  report = judge(player, [Case('1', b'')], pool=any_pool, limits=LIMITS, interactor=interactor)
  assert report.verdict == expected, report.failure and report.failure.message


def test_an_interactor_that_writes_more_than_fits_to_a_program_that_has_ended_may_say_so(any_pool, tmp_path):
  code = "try:\n  while True: os.write(1, b'x' * 999)\nexcept BrokenPipeError: os._exit(43)"
  (tmp_path / 'interactor.py').write_text(f'import os\n{code}')
  interactor = Checker(build(tmp_path / 'interactor.py', tmp_path / 'interactor', any_pool))
  (tmp_path / 'player.py').write_text('print(1)')
  player = build(tmp_path / 'player.py', tmp_path / 'player', any_pool)
  report = judge(player, [Case('1', b'')], pool=any_pool, limits=LIMITS, interactor=interactor)
  assert report.verdict == 'WA', report.failure and report.failure.message


CPP = {
  'right': ('AC', '#include <cstdio>\nint main() { puts("6"); }'),
  'deep recursion': (
    'AC',
    '#include <cstdio>\nint f(int n) { volatile char a[64]; a[0] = n; return n ? f(n - 1) + 0 * a[0] : 6; }\n'
    'int main() { printf("%d", f(200000)); }',
  ),
  'endless recursion': (
    'RE',
    'int f(int n) { volatile int a[99]; a[0] = n; return f(n + 1) + a[0]; }\nint main() { return f(1); }',
  ),
  'null': ('RE', 'int main() { volatile int* p = nullptr; *p = 1; }'),
  'eight gigabytes': ('MLE', '#include <vector>\nint main() { std::vector<long> v(1000000000); return v[5]; }'),
  'not C++': ('CE', 'int main() { return x; }'),
}


@pytest.mark.skipif(shutil.which('g++') is None, reason='no g++ here')
@pytest.mark.parametrize('name', CPP)
def test_cpp(pool, tmp_path, name):
  expected, code = CPP[name]
  (tmp_path / 'program.cpp').write_text(code)
  program = build(tmp_path / 'program.cpp', tmp_path / 'build', pool)
  assert judge(program, [Case('1', b'', b'6')], pool=pool, limits=LIMITS).verdict == expected
  if name == 'null':
    outcome = judge(program, [Case('1', b'', b'6')], pool=pool, limits=LIMITS).results[0].outcome
    assert outcome.ending == 'SIGSEGV'
  if name == 'not C++':
    assert 'x' in program.compile_error


def test_a_program_that_cannot_be_built_is_named(pool, tmp_path, monkeypatch):
  (tmp_path / 'program.cpp').write_text('int main() {}')
  (tmp_path / 'text.txt').write_text('hello')
  (tmp_path / 'old.py').write_text('#!/usr/bin/env python2\nprint 5')
  with pytest.raises(UserError, match='is in no language known here'):
    build(tmp_path / 'text.txt', tmp_path / 'build', pool)
  with pytest.raises(UserError, match='Python 2'):
    build(tmp_path / 'old.py', tmp_path / 'build', pool)
  with pytest.raises(UserError, match='no such file'):
    build(tmp_path / 'missing.py', tmp_path / 'build', pool)
  monkeypatch.setenv('PATH', str(tmp_path))
  with pytest.raises(UserError, match=r'C\+\+ cannot be compiled or run here: none of g\+\+, clang\+\+'):
    build(tmp_path / 'program.cpp', tmp_path / 'build', pool)


def test_any_command(pool, tmp_path):
  program = command(['tr', 'a-z', 'A-Z'])
  cases = [Case('1', b'hello\n', b'HELLO\n')]
  assert judge(program, cases, pool=pool, check=Comparison(exact=True)).verdict == 'AC'
  with pytest.raises(UserError, match='no executable'):
    command(['no-such-program-here'])


BELOW_TMP = """
import os, pathlib, sys
tools, link, other = map(pathlib.Path, sys.argv[1:])
print((tools / 'word').read_text(), (link / 'word').read_text(), other.exists() and os.access(other, os.R_OK))
for path in (tools / 'word', tools / 'new'):
  try: path.write_text('changed')
  except OSError: print('refused')
pathlib.Path(os.environ['TMPDIR'], 'own').write_text('written')
"""


def test_an_interpreter_below_tmp_is_seen_though_programs_have_a_tmp_of_their_own(any_pool):
  with tempfile.TemporaryDirectory(dir='/tmp') as name:
    folder = pathlib.Path(name)
    folder.chmod(0o755)
    tools, link, other = folder / 'tools', folder / 'link', folder / 'other'
    tools.mkdir()
    (tools / 'word').write_text('found')
    link.symlink_to('tools')
    other.write_text('of others')
    other.chmod(0o600)
    paths = [str(each) for each in (tools, link, other)]
    argv = [sys.executable, '-I', '-c', BELOW_TMP, *paths]
    (outcome,) = any_pool.run(Process(argv, LIMITS, toolchain=tuple(paths[:2])))
    assert outcome.output == b'found found False\nrefused\nrefused\n', outcome
    assert [each.name for each in tools.iterdir()] == ['word']
    assert sorted(each.name for each in folder.iterdir()) == ['link', 'other', 'tools']


def test_threads_are_counted_though_processes_end_meanwhile(monkeypatch):
  own = os.getpid()
  expected = int(processes.stat(own)[17])
  monkeypatch.setattr(processes, 'stat', lambda pid, read=processes.stat: read(pid) if pid == own else None)
  assert processes.threads_of_this_user() == expected
