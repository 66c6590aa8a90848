"""Completions over HTTP beside `transformers serve` on the same weights: tokens a second and how long one client waits.

    python -m benchmarks.serving_generate --peer_python=ENV/bin/python     # with torch, transformers[serving]
    python -m benchmarks.serving_generate --size=tiny --clients 1 4 --tokens=8

The peer is asked twice: as it is started by default, which writes one text after the other, and with
--continuous-batching. Each server is a process of its own over one folder of random weights, stopped (SIGSTOP) while
another is measured, on the same processors. All texts are greedy. Beside the clock stands each server's processor time,
which other work on the machine changes least.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from mlsd_jax.training import devices

devices.configure_backend(bfloat16=True)

import jax
import jax.numpy as jnp

from benchmarks.engine import TINY
from mlsd_jax.language_model import gpt2_folder, pretrained
from mlsd_jax.models import gpt
from mlsd_jax.serving import Limits, Services, TextService
from mlsd_jax.tokenizers import BPETokenizer
from mlsd_jax.training.step import cast_floating

SLOTS = 16
WAIT = 300.0  # seconds for a server to start, and for an answer
TICKS = os.sysconf('SC_CLK_TCK')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--size', default='gpt2', choices=[*gpt.SIZES, 'tiny'])
  parser.add_argument('--dtype', default='bfloat16', choices=('float32', 'bfloat16'))
  parser.add_argument('--clients', type=int, nargs='+', default=[1, 4, 16, 64])
  parser.add_argument('--tokens', type=int, default=16, help='of each text')
  parser.add_argument('--requests', type=int, nargs='+', default=[6, 12, 32, 64], help='for each number of clients')
  parser.add_argument('--peer_python', default=os.environ.get('MLSD_PEER_PYTHON'))
  parser.add_argument('--serve', type=pathlib.Path, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.serve:
    serve(options.serve, options.dtype)
    return
  with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as held:
    model = pathlib.Path(folder, 'model')
    config = gpt.GPTConfig(**((TINY | {'vocab_size': 50257}) if options.size == 'tiny' else gpt.SIZES[options.size]))
    params = jax.device_get(jax.jit(gpt.init, static_argnums=1)(jax.random.key(0), config))
    gpt2_folder.save_gpt2(params, config, model, make_tokenizer(config.vocab_size))
    sides = []
    for name, command in commands(model, options).items():
      try:
        sides.append(Side(name, command, pathlib.Path(folder)))
      except RuntimeError as error:
        print(f'{name} does not start: {error}')
        continue
      held.callback(sides[-1].close)
    print(
      f'GPT-2 {options.size}, {options.dtype}, texts of {options.tokens} tokens, {len(os.sched_getaffinity(0))} cores'
    )
    print(f'{"clients":>7}  {"server":<34}{"tokens/s":>10}{"p50 s":>8}{"p99 s":>8}{"processor ms a token":>22}')
    for clients, requests in zip(options.clients, options.requests, strict=False):
      texts = {side.name: side.measure(clients, requests, options.tokens) for side in sides}
      same = [sum(map(str.__eq__, texts[sides[0].name], other)) for other in list(texts.values())[1:]]
      print(f'{"":7}  texts equal to ours: {", ".join(f"{each} of {requests}" for each in same)}', flush=True)


def make_tokenizer(vocab: int) -> BPETokenizer:
  """A byte-level BPE of `vocab` tokens, of up to three letters each, so that any text of them is whole characters."""
  letters = [ord(letter) for letter in 'abcdefghijklmnopqrstuvwxyz0123456789_']
  pairs = [(a, b) for a in letters for b in letters]
  triples = [(256 + i, c) for i in range(len(pairs)) for c in letters]
  return BPETokenizer((pairs + triples)[: vocab - 257])


def commands(model: pathlib.Path, options: argparse.Namespace) -> dict[str, list[str]]:
  """How each server is started, but for its port."""
  ours = [sys.executable, '-m', 'benchmarks.serving_generate', f'--serve={model}', f'--dtype={options.dtype}']
  found = {'ours': ours}
  if options.peer_python:
    peer = [options.peer_python, '-m', 'transformers.cli.transformers', 'serve', str(model), '--device', 'cpu']
    peer += ['--dtype', options.dtype, '--log-level', 'error']
    found |= {'transformers serve': peer, 'transformers --continuous-batching': [*peer, '--continuous-batching']}
  return found


def serve(folder: pathlib.Path, dtype: str) -> None:
  """Our side, in a process of its own: serves the folder at the port of the environment."""
  import uvicorn

  from mlsd_jax.serving import create_app

  params, config, tokenizer = pretrained.load(f'hf:{folder}')
  params = cast_floating(jax.device_put(params), jnp.dtype(dtype))
  text = TextService(str(folder), params, config, tokenizer, slots=SLOTS, prefix_blocks=0)
  app = create_app(Services({text.name: text}), Limits(deadline_seconds=WAIT))
  uvicorn.run(app, port=int(os.environ['PORT']), log_level='error')


class Side:
  """A server as a process, stopped but while it is measured."""

  def __init__(self, name: str, command: list[str], folder: pathlib.Path):
    """Starts it and asks it once.

    Raises:
      RuntimeError: it ended, or does not answer.
    """
    self.name, self._model = name, str(folder / 'model')
    with socket.socket() as probe:
      probe.bind(('127.0.0.1', 0))
      self._port = probe.getsockname()[1]
    if 'transformers' in name:
      command = [*command, '--host', '127.0.0.1', '--port', str(self._port)]
    log = folder / f'{name.replace(" ", "-")}.log'
    with open(log, 'w') as file:
      self._process = subprocess.Popen(
        command, env=os.environ | {'PORT': str(self._port), 'HF_HUB_OFFLINE': '1'}, stdout=file, stderr=file
      )
    began = time.monotonic()
    while True:
      try:
        self._ask('abc', 2)
        break
      except (OSError, http.client.HTTPException) as error:
        if self._process.poll() is not None or time.monotonic() - began > WAIT:
          self.close()
          raise RuntimeError(log.read_text().strip()[-300:] or repr(error)) from error
        time.sleep(0.2)
      except RuntimeError:
        self.close()
        raise
    self._process.send_signal(signal.SIGSTOP)

  def close(self) -> None:
    self._process.kill()
    self._process.wait()

  def measure(self, clients: int, requests: int, tokens: int) -> list[str]:
    """Prints a row; the texts."""
    rng = np.random.default_rng(0)
    prompts = [''.join(rng.choice(list('abcdefghij0123456789'), 48)) for _ in range(requests)]
    self._process.send_signal(signal.SIGCONT)
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
      list(pool.map(lambda prompt: self._ask(prompt, 2), prompts[:clients]))  # what is prepared once
      began, used = time.perf_counter(), self._processor_seconds()
      answers = list(pool.map(lambda prompt: self._ask(prompt, tokens), prompts))
      wall, used = time.perf_counter() - began, self._processor_seconds() - used
    self._process.send_signal(signal.SIGSTOP)
    written = sum(answer['usage']['completion_tokens'] for answer, _ in answers)
    p50, p99 = np.quantile([seconds for _, seconds in answers], (0.5, 0.99))
    print(
      f'{clients:7}  {self.name:<34}{written / wall:10.1f}{p50:8.2f}{p99:8.2f}{1000 * used / written:22.2f}', flush=True
    )
    return [answer['choices'][0]['text'] for answer, _ in answers]

  def _ask(self, prompt: str, tokens: int) -> tuple[Any, float]:
    began = time.perf_counter()
    body = {'model': self._model, 'prompt': prompt, 'max_tokens': tokens, 'temperature': 0}
    connection = http.client.HTTPConnection('127.0.0.1', self._port, timeout=WAIT)
    with contextlib.closing(connection):
      connection.request('POST', '/v1/completions', json.dumps(body), {'Content-Type': 'application/json'})
      answer = connection.getresponse()
      data = answer.read()
    if answer.status == 503:
      raise ConnectionError('it is not ready')
    if answer.status != 200:
      raise RuntimeError(f'it answered {answer.status}: {data.decode()[:300]}')
    return json.loads(data), time.perf_counter() - began

  def _processor_seconds(self) -> float:
    fields = pathlib.Path(f'/proc/{self._process.pid}/stat').read_text().rpartition(')')[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == '__main__':
  main()
