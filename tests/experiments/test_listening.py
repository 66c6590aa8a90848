"""How a server ends: answers under way are finished, and the exit code says whether anything went wrong."""

import contextlib
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

SERVER = """
import asyncio, contextlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job does not begin with
import experiments
from experiments import contract, listening
from fastapi import FastAPI
from fastapi.responses import StreamingResponse

async def lines():
  for number in range(20):
    yield f'{number}\\n'
    await asyncio.sleep(0.05)

@contextlib.asynccontextmanager
async def life(app):
  if 'slow' in sys.argv:
    import time
    for _ in range(1000):
      time.sleep(0.1)
  yield
  print('closed', flush=True)

app = FastAPI(lifespan=life)
app.get('/')(lambda: StreamingResponse(lines()))

def work(run):
  listening.listen(run, '127.0.0.1', 0, app)

sys.exit(contract.launch('thing', {'train': work}, 'v', uses_jax=lambda run: False, argv=['--config=v.py']))
"""


@pytest.fixture
def start(tmp_path, start_process):
  """start(*arguments) -> a process that listens, and the port."""
  (tmp_path / 'v.py').write_text('from ml_collections import ConfigDict\nget_config = ConfigDict\n')
  environment = os.environ | {'PYTHONPATH': str(pathlib.Path(__file__).parents[2])}

  def start(*arguments):
    process = start_process(
      [sys.executable, '-c', SERVER, *arguments], env=environment, cwd=tmp_path, text=True,
      stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    said = process.stdout.readline()
    return process, int(re.search(r'127\.0\.0\.1:(\d+)', said)[1])

  return start


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_stream_is_finished_and_then_the_server_ends(start, within, number, code):
  process, port = start()
  connect = lambda: http.client.HTTPConnection('127.0.0.1', port, timeout=within(30))
  while True:
    with contextlib.suppress(ConnectionRefusedError), contextlib.closing(connect()) as connection:
      connection.request('HEAD', '/')
      break
  with contextlib.closing(connect()) as connection:
    connection.request('GET', '/')
    answer = connection.getresponse()
    assert answer.readline() == b'0\n'
    process.send_signal(number)
    assert answer.read().split() == [b'%d' % number for number in range(1, 20)]
  out, err = process.communicate(timeout=within(30))
  assert (process.returncode, out) == (code, 'closed\n')
  assert err == ('' if code == 0 else 'interrupted\n')


@pytest.mark.parametrize(('number', 'code'), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_what_has_not_begun_to_answer_ends_at_once(start, within, number, code):
  process, _ = start('slow')
  process.send_signal(number)
  out, err = process.communicate(timeout=within(30))
  assert (process.returncode, out) == (code, '')
  assert err == ('' if code == 0 else 'interrupted\n')
