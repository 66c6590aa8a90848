"""A run as a process: Ctrl-C at any moment, output that cannot be written, is closed, or knows few characters."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from experiments import process

REPOSITORY = pathlib.Path(__file__).parents[2]
CONFIG = "from ml_collections import ConfigDict\ndef get_config():\n  return ConfigDict({'train': {'steps': 1}})\n"
BEGIN = """
import sys
sys.argv = ['-m']  # as when Python looks for the module that -m names
import gc, os, signal, time
import experiments
from experiments import process
"""
LAUNCH = """
from experiments import contract
def work(run):
{work}
sys.exit(contract.launch('thing', {{'train': work}}, 'v', uses_jax=lambda run: False, argv=['--config=v.py']))
"""


def indented(lines):
  return ''.join(f'  {line}\n' for line in lines.strip().splitlines())


@pytest.fixture
def start(tmp_path, start_process):
  """start(code, **options) -> a process that runs `code` as an experiment does."""
  (tmp_path / 'v.py').write_text(CONFIG)

  def start(code, encoding='utf-8', without='', **options):
    variables = os.environ | {'PYTHONPATH': str(REPOSITORY), 'PYTHONIOENCODING': encoding}
    options = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path) | options
    closed = ['sh', '-c', f'exec "$0" "$@" {without}']  # a shell closes it, as in a user's command
    return start_process([*closed, sys.executable, '-c', BEGIN + code], env=variables, **options)

  return start


WAIT = "print('ready', flush=True)\ntime.sleep(60)\n"
INTERRUPTED = {
  'during imports': WAIT,
  'at work': LAUNCH.format(work=indented(WAIT)),
  'at the prompt, with the handler of Polars': LAUNCH.format(
    work=indented("import polars\nprocess.answer_at_once()\ninput('ready\\n')")
  ),
  'after the work': LAUNCH.replace('sys.exit(', '(').format(work='  pass') + WAIT,
  'while a first one is answered': LAUNCH.format(
    work=indented("""
try:
  os.kill(os.getpid(), signal.SIGINT)
finally:
  print('ready', flush=True)
  time.sleep(60)
""")
  ),
}


@pytest.mark.parametrize('code', INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupt_is_one_line(code, start, within):
  process = start(code)
  assert process.stdout.readline() == b'ready\n'
  code = None
  for _ in range(int(within(30) / 0.5)):  # one that comes right before the call that waits is seen with the next
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
      code = process.wait(0.5)
      break
  assert code == 130
  assert process.stderr.read() == b'interrupted\n'


SWALLOWED = {
  'by a callback of the garbage collector': """
asked = []
def callback(*_):
  if not asked:
    asked.append(1)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
gc.callbacks.append(callback)
gc.collect()
time.sleep(60)
""",
  'by a finaliser': """
class Dies:
  def __del__(self):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.01)
Dies()
time.sleep(60)
""",
  'by a handler of everything, before the claim': """
try:
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(60)
except BaseException:
  pass
run.claim()
""",
  'and becomes another error': """
try:
  os.kill(os.getpid(), signal.SIGINT)
  time.sleep(60)
except BaseException:
  raise RuntimeError('a callback failed')
""",
}


@pytest.mark.parametrize('work', SWALLOWED.values(), ids=SWALLOWED)
def test_an_interrupt_that_is_swallowed_ends_the_run_all_the_same(work, start, within, tmp_path):
  process = start(LAUNCH.format(work=indented(work)))
  assert process.wait(within(30)) == 130
  assert process.stderr.read() == b'interrupted\n'
  assert not (tmp_path / 'runs').exists()


PRINT = LAUNCH.format(work="  run.claim()\n  run.print('naïve 日本')\n  run.write_result({'loss': 1.0})")


def test_output_to_a_full_disk_is_one_line_and_leaves_nothing(start, tmp_path):
  with open('/dev/full', 'wb') as full:
    process = start(PRINT, stdout=full)
    assert process.wait() == 2
  assert process.stderr.read() == b'error: standard output cannot be written: No space left on device\n'
  assert not (tmp_path / 'runs').exists()


def test_a_reader_that_has_read_enough_is_no_error(start):
  """As `... | head -1` closes its end."""
  process = start(
    LAUNCH.format(work=indented("print('first', flush=True)\ninput()\nfor _ in range(9999): print('more')"))
  )
  assert process.stdout.readline() == b'first\n'
  process.stdout.close()
  process.stdin.write(b'\n')
  process.stdin.close()
  assert process.wait() == 0
  assert process.stderr.read() == b''


def test_closed_output_is_one_line(start, tmp_path):
  process = start(PRINT, without='>&-')
  assert process.wait() == 2
  assert process.stderr.read() == b'error: standard output is closed; send it to a file, or to /dev/null\n'
  assert not (tmp_path / 'runs').exists()


def test_what_an_encoding_does_not_have_is_escaped_and_said_once(start):
  process = start(PRINT, encoding='ascii')
  out, err = process.communicate()
  assert (process.returncode, out) == (0, b'na\\xefve \\u65e5\\u672c\n')
  assert err.count(b'\n') == 1
  assert b'PYTHONIOENCODING=utf-8' in err


def test_closed_streams_are_not_numbers_for_files(start, tmp_path):
  process = start(LAUNCH.format(work="  file = open('mine', 'w')\n  print(file.fileno() > 2)"), without='<&-')
  assert process.communicate()[0] == b'True\n'


@pytest.mark.parametrize(
  ('argv', 'given', 'expected'),
  [
    (['-m', 'experiments.gpt2', '--help'], '', 'glibc.malloc.hugetlb=1'),
    (['-m', 'experiments.gpt2'], 'glibc.malloc.check=1', 'glibc.malloc.check=1:glibc.malloc.hugetlb=1'),
    (['-m', 'experiments.gpt2'], 'glibc.malloc.hugetlb=1', None),
    (['-m', 'experiments.gpt2'], 'glibc.malloc.hugetlb=0', None),
    (['-m', 'experiments.serve'], '', None),
    (['program.py', '-m', 'experiments.gpt2'], '', None),
  ],
)
def test_a_training_starts_anew_with_huge_pages_once(monkeypatch, tmp_path, argv, given, expected):
  enabled = tmp_path / 'enabled'
  enabled.write_text('always [madvise] never\n')
  monkeypatch.setattr(process, 'open', lambda path: enabled.open(), raising=False)
  monkeypatch.setattr(sys, 'orig_argv', ['python', *argv])
  monkeypatch.setenv('GLIBC_TUNABLES', given)
  started = []
  monkeypatch.setattr(os, 'execv', lambda *command: started.append((command, os.environ['GLIBC_TUNABLES'])))
  process.use_huge_pages()
  assert started == ([] if expected is None else [((sys.executable, [sys.executable, *argv]), expected)])
  enabled.write_text('always madvise [never]\n')
  process.use_huge_pages()
  assert len(started) <= 1


@pytest.mark.parametrize(
  ('argv', 'given', 'expected'),
  [
    (['-m', 'experiments.serve', '--config.port=0'], None, '1'),
    (['-m', 'experiments.serve', '--workdir=prepared'], None, '1'),
    (['-m', 'experiments.serve'], '4', '4'),
    (['-m', 'experiments.serve', '--mode=prepare'], None, None),  # its children train
    (['-m', 'experiments.serve', '--mode', 'prepare'], None, None),
    (['-m', 'experiments.recsys'], None, None),
  ],
)
def test_a_server_makes_each_product_in_one_thread(monkeypatch, argv, given, expected):
  monkeypatch.setattr(sys, 'orig_argv', ['python', *argv])
  monkeypatch.setenv('OPENBLAS_NUM_THREADS', given or '')  # so that it is as it was afterwards
  if given is None:
    monkeypatch.delenv('OPENBLAS_NUM_THREADS')
  process.keep_products_in_their_thread()
  assert os.environ.get('OPENBLAS_NUM_THREADS') == expected
