"""A server of every system under mixed load, with clients that vanish and bodies that are broken.

    python -m benchmarks.serving_soak                    # 30 minutes
    python -m benchmarks.serving_soak --minutes=1 --systems=gpt2,recsys,tokenizer

Small runs with weights of chance are made (in --folder, which keeps them), served by `python -m experiments.serve`, and
asked by --clients threads. Meanwhile one model after another is replaced, five times in all, and the server is once
killed (SIGKILL) and started again; at the end it is told to stop (SIGTERM) while it streams. Every answer is checked: a
greedy text against that of the model alone, vectors, pages and probabilities against the library's, recommendations
against their rules, purchases against the ledger of what was acknowledged. Prints a table; exit code 1 if an answer was
wrong, an event lost or counted twice, or memory grew by more than 2% from the warm server to the end.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

import numpy as np

from benchmarks import serving_runs
from benchmarks.serving_answers import ASKS, Answers, WrongAnswerError, check

GROWTH = 0.02  # of memory, that is allowed
REPLACED = ('gpt2', 'recsys', 'makemore', 'gpt2', 'recsys')
# Shares of the time. The server is warm when it holds two versions of each that is replaced; a third is closed once it
# was idle for two minutes, which must be over at the end.
_KILL, _REPLACE, _WARM = 0.05, (0.1, 0.15, 0.2, 0.5, 0.6), 0.4
_JUDGED = 5.0  # minutes from which on memory is judged: a shorter time is all warming up
_WAIT = 600.0  # seconds that a server may take to be ready
BROKEN = (
  ('/v1/completions', b'{'),
  ('/v1/completions', b'[1]'),
  ('/v1/completions', b'{"model": "gpt2/quickstart", "prompt": NaN}'),
  ('/v1/completions', b'{"model": "gpt2/quickstart", "prompt": "a", "max_tokens": -1}'),
  ('/v1/completions', b'{"model": "nobody", "prompt": "a"}'),
  ('/v1/completions', b'\xff\xfe{}'),
  ('/v1/completions', b'{"prompt":' + b'[' * 5000),
  ('/v1/embeddings', b'{"model": 7, "input": {}}'),
  ('/v1/recommend', b'{"user": "u1", "number": 1e999}'),
  ('/v1/events', b'{"user": "u1", "item": "no such item"}'),
  ('/v1/events', b'[]'),
  ('/v1/ask', b'{"query": ""}'),
  ('/v1/names', b'{"words": ["1"]}'),
  ('/v1/micrograd', b'{"expression": "__import__(\'os\')"}'),
  ('/v1/judge', b'{"problem": "../../etc/passwd", "source": "x"}'),
  ('/v1/nothing', b'{}'),
)  # fmt: skip


class NoServerError(Exception):
  """The server was not there, which it may not be while it is killed and started."""


class Server:
  """experiments.serve as a process."""

  def __init__(self, runs: pathlib.Path, folder: pathlib.Path, judges: bool):
    self._command = [
      sys.executable, '-m', 'experiments.serve', f'--workdir={folder / "serve"}', f'--config.runs={runs}',
      '--config.port=0', '--config.renew_seconds=0.5', f'--config.judge={judges}', '--config.slots=8',
    ]  # fmt: skip
    self.log, self.port, self.is_up = folder / 'server.log', 0, threading.Event()

  def start(self) -> float:
    """Seconds until it is ready."""
    began = time.monotonic()
    with open(self.log, 'a') as log:
      at = log.tell()
      self.process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
    while time.monotonic() - began < _WAIT:
      found = re.search(r'http://127\.0\.0\.1:(\d+)', self.log.read_text()[at:])
      if self.process.poll() is not None:
        raise SystemExit(f'the server ended: {self.log.read_text()[-3000:]}')
      if found:
        self.port = int(found[1])
        try:
          if self.request('GET', '/ready', None)[0] == 200:
            self.is_up.set()
            return time.monotonic() - began
        except NoServerError:
          pass
      time.sleep(0.1)
    raise SystemExit(f'the server was not ready after {_WAIT:g} s')

  def kill(self) -> None:
    self.is_up.clear()
    self.process.kill()
    self.process.wait()

  def rss(self) -> int:
    """Resident bytes."""
    status = pathlib.Path(f'/proc/{self.process.pid}/status').read_text()
    return 1024 * int(re.search(r'VmRSS:\s+(\d+)', status)[1])  # type: ignore[index]

  def request(self, method: str, path: str, body: bytes | None) -> tuple[int, Any]:
    """Status and JSON, or the data of each event of a stream.

    Raises:
      NoServerError: there was no answer, or not all of it.
    """
    connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=_WAIT)
    try:
      connection.request(method, path, body, {'Content-Type': 'application/json'})
      answer = connection.getresponse()
      data = answer.read()
      if 'event-stream' in answer.headers.get('Content-Type', ''):
        return answer.status, [each[6:] for each in data.decode().split('\n\n') if each]
      check('Traceback' not in data.decode(errors='replace'), f'{path} told a traceback')
      return answer.status, json.loads(data) if data[:1] in (b'{', b'[') else data
    except (OSError, http.client.HTTPException) as error:
      raise NoServerError(repr(error)) from error
    finally:
      connection.close()


class Load:
  """The clients, and what became of what they asked."""

  def __init__(self, server: Server, answers: Answers):
    self.server, self.answers, self.stop = server, answers, threading.Event()
    self.seconds: dict[str, list[float]] = collections.defaultdict(list)
    self.counts: collections.Counter[tuple[str, str]] = collections.Counter()
    self.wrong: list[str] = []
    self._lock = threading.Lock()
    self._asks = {name: each for name, each in ASKS.items() if each[0] in (*answers.systems, '')}

  def client(self, number: int) -> None:
    rng = random.Random(number)
    chances = [share for _, share, _ in self._asks.values()]
    while not self.stop.is_set():
      self.server.is_up.wait(1)
      (name,) = rng.choices([*self._asks, 'broken', 'vanish'], [*chances, 4, 4])
      began, life = time.perf_counter(), self.server.process
      outcome = 'right'
      try:
        if name == 'broken':
          self._send_broken(rng)
        elif name == 'vanish':
          self._vanish(rng)
        else:
          self._asks[name][2](self.answers, self._post, rng)
      except NoServerError as error:
        outcome = 'no server'
        if self.server.is_up.is_set() and life is self.server.process:
          outcome = 'cut off'
          self.tell_wrong(f'{name}: {error}')
      except Exception as error:  # a wrong one, or an answer of another shape
        outcome = 'wrong'
        self.tell_wrong(f'{name}: {error if isinstance(error, WrongAnswerError) else repr(error)}')
      with self._lock:
        self.counts[name, outcome] += 1
        if outcome == 'right':
          self.seconds[name].append(time.perf_counter() - began)

  def tell_wrong(self, message: str) -> str:
    """Notes it for the report, and gives it back."""
    with self._lock:
      self.wrong.append(message[:500])
      print(f'wrong: {message[:300]}', flush=True)
    return message

  def _post(self, path: str, body: Any) -> tuple[int, Any]:
    """Until the server is there and has room; what was sent before may have been counted."""
    data = json.dumps(body).encode()
    while True:
      life = self.server.process
      try:
        status, told = self.server.request('POST', path, data)
      except NoServerError:
        if self.server.is_up.is_set() and life is self.server.process:
          raise
        self.server.is_up.wait(_WAIT)
        continue
      if status != 429:
        check(status == 200, f'{path} answered {status}: {str(told)[:200]}')
        return status, told
      with self._lock:
        self.counts['busy', 'refused'] += 1
      time.sleep(1)

  def _send_broken(self, rng: random.Random) -> None:
    path, body = rng.choice(BROKEN)
    life = self.server.process
    if rng.random() < 0.3:  # less than the header says, then nothing more
      self._send_and_go(
        f'POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body) + 9}\r\n\r\n'.encode() + body
      )
      return
    try:
      status, told = self.server.request('POST', path, body)
    except NoServerError:
      if life is self.server.process:
        raise
      return
    check(400 <= status < 500, f'{path} answered {status} to {body[:60]!r}: {str(told)[:200]}')

  def _vanish(self, rng: random.Random) -> None:
    """Asks for much, reads little or nothing, and is gone."""
    body = {'model': 'gpt2/quickstart', 'prompt': 'a' * rng.randrange(1, 90), 'max_tokens': 100, 'n': 2}
    data = json.dumps(body | {'stream': rng.random() < 0.7}).encode()
    fields = f'Host: here\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n'
    self._send_and_go(f'POST /v1/completions HTTP/1.1\r\n{fields}'.encode() + data, rng)

  def _send_and_go(self, sent: bytes, rng: random.Random | None = None) -> None:
    """Reads little of the answer, or nothing, and closes or resets the connection."""
    try:
      with socket.create_connection(('127.0.0.1', self.server.port), timeout=60) as raw:
        raw.sendall(sent)
        if rng and rng.random() < 0.7:
          raw.recv(rng.randrange(1, 2000))
        if rng and rng.random() < 0.5:
          raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\x01\0\0\0\0\0\0\0')
    except OSError as error:
      raise NoServerError(repr(error)) from error


def purchases(server: Server, user: str) -> int:
  return len(server.request('GET', f'/v1/users/{user}?limit=1000', None)[1]['history'])


def disturb(server: Server, load: Load, runs: pathlib.Path, seconds: float, rss: list) -> dict[str, Any]:
  """Kills and replaces at their times, and looks at the memory; what was done."""
  began, done = time.monotonic(), collections.Counter()
  plan = [(_KILL, 'kill'), *zip(_REPLACE, REPLACED, strict=True)]
  while (passed := time.monotonic() - began) < seconds:
    if plan and passed > plan[0][0] * seconds:
      _, what = plan.pop(0)
      if what == 'kill':
        server.kill()
        away = server.start()
        began += away  # shares are of the time in which there is a server
        print(f'{passed:5.0f} s: killed; ready again after {away:.1f} s', flush=True)
      elif what in load.answers.systems:
        _replace(what, runs, load)
        print(f'{passed:5.0f} s: another version of {what}', flush=True)
      done[what] += what in (*load.answers.systems, 'kill')
    rss.append((time.monotonic() - began, server.rss()))
    time.sleep(min(1.0, seconds / 60))
  return done


def _replace(system: str, runs: pathlib.Path, load: Load) -> None:
  workdir, versions = runs / system / serving_runs.NAME, load.answers.versions
  if system == 'gpt2':
    load.answers.texts(versions.written + 1)  # before it can be served
    versions.written += 1
    serving_runs.write_gpt2(workdir, versions.written)
  elif system == 'recsys':
    serving_runs.write_state(workdir)
  else:
    os.utime(workdir / 'result.json')


def stop_while_it_streams(server: Server) -> str:
  """SIGTERM in the middle of an answer: it is whole, and then the server ends."""
  told: list[Any] = []
  body = {'model': 'gpt2/quickstart', 'prompt': 'a', 'max_tokens': 100, 'stream': True}
  streaming = threading.Thread(
    target=lambda: told.extend(server.request('POST', '/v1/completions', json.dumps(body | {'seed': 1}).encode())[1])
  )
  streaming.start()
  time.sleep(0.05)
  server.process.send_signal(signal.SIGTERM)
  streaming.join(60)
  code = server.process.wait(60)
  check(bool(told) and told[-1] == '[DONE]', f'the stream was cut off: {told[-1:]}')
  check(code == 0, f'the server was told to stop, and ended with exit code {code}')
  return f'exit code {code}'


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--minutes', type=float, default=30.0)
  parser.add_argument('--clients', type=int, default=12)
  parser.add_argument(
    '--folder', type=pathlib.Path, help='where small runs are made and kept; otherwise a temporary one'
  )
  parser.add_argument('--systems', default='gpt2,mingpt,tokenizer,retrieval,recsys,makemore,judge')
  options = parser.parse_args()
  with tempfile.TemporaryDirectory(prefix='soak-') as temporary:
    return soak(options, options.folder or pathlib.Path(temporary))


def soak(options: argparse.Namespace, folder: pathlib.Path) -> int:
  systems = options.systems.split(',')
  runs = serving_runs.make(folder, [each for each in serving_runs.SYSTEMS if each in systems])
  if 'gpt2' in systems:  # without what an earlier soak has put there
    shutil.rmtree(runs / 'gpt2' / serving_runs.NAME / 'checkpoints')
    serving_runs.write_gpt2(runs / 'gpt2' / serving_runs.NAME, 0)
  with tempfile.TemporaryDirectory(prefix='soak-state-') as state:
    answers, server = Answers(runs, systems), Server(runs, pathlib.Path(state), 'judge' in systems)
    answers.texts(0)
    load, ledger = Load(server, answers), answers.ledger
    try:
      print(f'ready after {server.start():.1f} s', flush=True)
      if 'recsys' in systems:
        ledger.before |= {f'u{i}': purchases(server, f'u{i}') for i in range(1, 150, 4)}
      clients = [threading.Thread(target=load.client, args=(i,), daemon=True) for i in range(options.clients)]
      for client in clients:
        client.start()
      rss: list[tuple[float, int]] = []
      done = disturb(server, load, runs, 60 * options.minutes, rss)
      load.stop.set()
      for client in clients:
        client.join(_WAIT)
      lost, twice = settle(server, load)
      try:
        ending = stop_while_it_streams(server) if 'gpt2' in systems else ''
      except WrongAnswerError as error:
        ending = load.tell_wrong(str(error))
    finally:
      server.process.kill()
  return report(options, load, done, rss, lost, twice, ending)


def settle(server: Server, load: Load) -> tuple[int, int]:
  """Purchases that were acknowledged and are not counted, and those that count more than once."""
  lost = twice = 0
  for user, before in load.answers.ledger.before.items():
    surplus = purchases(server, user) - before - len(load.answers.ledger.acknowledged.get(user, ()))
    lost, twice = lost + max(-surplus, 0), twice + max(surplus, 0)
  return lost, twice


def report(options, load: Load, done, rss, lost: int, twice: int, ending: str) -> int:
  print(f'\n{"":<12}{"right":>9}{"wrong":>7}{"cut off":>9}{"no server":>11}{"p50 ms":>9}{"p99 ms":>9}')
  for name in sorted({name for name, _ in load.counts if name != 'busy'}):
    of = lambda outcome, name=name: load.counts[name, outcome]
    p50, p99 = 1000 * np.quantile(load.seconds[name] or [np.nan], [0.5, 0.99])
    print(f'{name:<12}{of("right"):>9,}{of("wrong"):>7}{of("cut off"):>9}{of("no server"):>11}{p50:>9.1f}{p99:>9.1f}')
  total = 60 * options.minutes
  warm = [size for at, size in rss if _WARM * total <= at < (_WARM + 0.05) * total]
  late = [size for at, size in rss if at >= 0.95 * total]
  growth = float(np.median(late) / np.median(warm) - 1)
  events = sum(map(len, load.answers.ledger.acknowledged.values()))
  busy = load.counts['busy', 'refused']
  print(f'refused because busy {busy}; {events} purchases, {lost} lost, {twice} counted twice')
  killed, before, after = done['kill'], np.median(warm) / 2**20, np.median(late) / 2**20
  print(f'killed {killed} time, replaced {sum(done.values()) - killed} times; SIGTERM in a stream: {ending}')
  tenths = [np.median([size for at, size in rss if int(10 * at / total) == tenth]) / 2**20 for tenth in range(10)]
  print('memory by tenths of the time:', ', '.join(f'{size:.1f}' for size in tenths), 'MiB')
  print(f'memory {before:.1f} MiB warm, {after:.1f} MiB at the end: {100 * growth:+.2f}%')
  failed = bool(load.wrong) or lost or twice or (growth > GROWTH and options.minutes >= _JUDGED)
  print('FAILED' if failed else 'passed')
  return int(bool(failed))


if __name__ == '__main__':
  sys.exit(main())
