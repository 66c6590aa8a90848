"""Our server beside `transformers serve`: the same GPT-2 weights, the same requests, 1, 4, 16 and 64 clients.

    python -m benchmarks.serving_generate --peer_python=ENV/bin/python     # 124M, random weights
    python -m benchmarks.serving_generate --peer_python=ENV/bin/python --size=tiny
    python -m benchmarks.serving_generate --peer_python=ENV/bin/python --continuous_batching

Both sides share the same processors, in one run and by turns; either has nothing to do meanwhile. Each client sends its
next request when the last has been answered whole. Prompts differ, texts are greedy and all of one length, which is
counted from the answers.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator

from mlsd_jax.training import devices

devices.configure_backend(bfloat16=True)

import jax
import numpy as np

from benchmarks.engine import DTYPES, TINY
from benchmarks.serving_http import CLIENTS, post, serving, timed
from mlsd_jax.language_model import gpt2_folder
from mlsd_jax.models import gpt
from mlsd_jax.serving import Services, TextService
from mlsd_jax.tokenizers import BPETokenizer
from mlsd_jax.training.step import cast_floating

_STARTING = 300.0  # seconds that the peer may take


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--peer_python', type=pathlib.Path, required=True)
  parser.add_argument('--size', default='gpt2', choices=[*gpt.SIZES, 'tiny'])
  parser.add_argument('--dtype', default='float32', choices=list(DTYPES))
  parser.add_argument('--tokens', type=int, default=24, help='of each text')
  parser.add_argument('--requests', type=int, default=8, help='of each number of clients, and at least one of each')
  parser.add_argument('--slots', type=int, default=16)
  parser.add_argument('--continuous_batching', action='store_true', help="the peer's own")
  options = parser.parse_args()
  config = gpt.GPTConfig(**(TINY if options.size == 'tiny' else gpt.SIZES[options.size]))
  params = jax.jit(gpt.init, static_argnums=1)(jax.random.key(0), config)
  tokenizer = BPETokenizer([])  # bytes: every id below the vocabulary's size is one of both sides
  with tempfile.TemporaryDirectory() as temporary, contextlib.ExitStack() as held:
    folder = gpt2_folder.save_gpt2(jax.device_get(params), config, pathlib.Path(temporary, 'gpt2'), tokenizer)
    _never_end(folder)
    sides = {'transformers serve': (held.enter_context(peer(folder, options)), str(folder))}
    params = cast_floating(params, DTYPES[options.dtype])
    services = Services({'gpt2': TextService('gpt2', params, config, tokenizer, slots=options.slots)})
    sides = {'ours': (held.enter_context(serving(services)), 'gpt2'), **sides}
    print(f'GPT-2 {options.size}, {options.dtype}, texts of {options.tokens} tokens')
    for clients in CLIENTS:
      for name, (port, model) in sides.items():
        ask(port, model, clients, clients, options.tokens)  # what is compiled once
        number = max(options.requests, clients)
        wall, seconds, tokens = ask(port, model, clients, number, options.tokens)
        p50, p99 = np.quantile(seconds, [0.5, 0.99])
        print(
          f'{clients:2} clients, {name:<18} {tokens / wall:8.1f} tokens/s, a text p50 {p50:7.2f} s, p99 {p99:7.2f} s',
          flush=True,
        )


def _never_end(folder: pathlib.Path) -> None:
  """Of random weights no text should end by itself, as the other side's might not."""
  for name in ('config.json', 'generation_config.json'):
    path = folder / name
    stored = {key: value for key, value in json.loads(path.read_text()).items() if key != 'eos_token_id'}
    path.write_text(json.dumps(stored))


@contextlib.contextmanager
def peer(folder: pathlib.Path, options: argparse.Namespace) -> Iterator[int]:
  """`transformers serve`; the port it answers at, once it does."""
  with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    port = free.getsockname()[1]
  program = options.peer_python.with_name('transformers')
  command = [program, 'serve', folder, '--host', '127.0.0.1', '--port', str(port), '--device', 'cpu']
  command += ['--dtype', options.dtype, '--log-level', 'error']
  command += ['--continuous-batching'] if options.continuous_batching else []
  process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
  try:
    began = time.monotonic()
    while time.monotonic() - began < _STARTING and process.poll() is None:
      with contextlib.suppress(OSError):
        connection = http.client.HTTPConnection('127.0.0.1', port)
        connection.request('GET', '/health')
        if connection.getresponse().status == 200:
          break
      time.sleep(0.5)
    else:
      raise SystemExit(f'{" ".join(map(str, command))} does not answer')
    yield port
  finally:
    process.kill()
    process.wait()


def ask(port: int, model: str, clients: int, number: int, tokens: int) -> tuple[float, list[float], int]:
  """Seconds in all, of each request, and tokens that came."""

  def client(mine: list[int]) -> tuple[list[float], int]:
    connection, seconds, came = http.client.HTTPConnection('127.0.0.1', port), [], 0
    for i in mine:
      body = {'model': model, 'prompt': f'The number of request {i} is', 'max_tokens': tokens, 'temperature': 0}
      told: list[bytes] = []
      seconds.append(timed(lambda body=body, told=told: told.append(post(connection, '/v1/completions', body)))[0])
      came += json.loads(told[0])['usage']['completion_tokens']
    return seconds, came

  began = time.perf_counter()
  with concurrent.futures.ThreadPoolExecutor(clients) as pool:
    parts = list(pool.map(client, [list(range(number))[i::clients] for i in range(clients)]))
  wall = time.perf_counter() - began
  return wall, [each for seconds, _ in parts for each in seconds], sum(came for _, came in parts)


if __name__ == '__main__':
  main()
