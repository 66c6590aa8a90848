"""Recommendations over HTTP: how many a second, and how long one takes, by clients that ask at once.

    python -m benchmarks.serving_recommend                      # the shop and the models of configs/recsys/synthetic.py
    python -m benchmarks.serving_recommend --state=runs/recsys/quickstart/state --clients 1 64

The server is a process of its own with its log of events and its log of answers; clients are sockets of this process,
each of which asks for a user drawn at random when its last answer has come, one in ten for one who is not known. Beside
the clock stands the processor time of both processes.
"""

import argparse
import asyncio
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np

TICKS = os.sysconf('SC_CLK_TCK')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--state', type=pathlib.Path, help='a saved state; otherwise one of untrained models is made')
  parser.add_argument('--clients', type=int, nargs='+', default=[1, 4, 16, 64])
  parser.add_argument('--seconds', type=float, default=8.0, help='of each number of clients')
  parser.add_argument('--threads', type=int, nargs='+', default=[1, 2], help='batches that are computed side by side')
  parser.add_argument('--serve', type=int, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.serve:
    serve(options.state, options.serve, options.threads[0])
    return
  with tempfile.TemporaryDirectory() as folder:
    state = options.state or make(pathlib.Path(folder, 'state'))
    for threads in options.threads:
      measure(state, threads, options)


def measure(state: pathlib.Path, threads: int, options: argparse.Namespace) -> None:
  """Prints a row for each number of clients."""
  with contextlib.ExitStack() as held:
    with socket.socket() as probe:
      probe.bind(('127.0.0.1', 0))
      port = probe.getsockname()[1]
    command = [sys.executable, '-m', 'benchmarks.serving_recommend', f'--state={state}', f'--serve={port}']
    command.append(f'--threads={threads}')
    server = subprocess.Popen(command, env=os.environ | {'OPENBLAS_NUM_THREADS': '1'})  # as experiments.serve has it
    held.callback(lambda: (server.kill(), server.wait()))
    users = asyncio.run(wait_for_users(port, server))
    print(f'{len(users):,} users asked for, {len(os.sched_getaffinity(0))} cores, batches in {threads} threads')
    print(
      f'{"clients":>7}{"requests/s":>12}{"p50 ms":>9}{"p99 ms":>9}{"server: processor ms a request":>32}{"client":>9}'
    )
    for clients in options.clients:
      asyncio.run(drive(port, users, clients, 1.0))
      before, own = processor_seconds(server.pid), time.process_time()
      seconds = np.array(asyncio.run(drive(port, users, clients, options.seconds)))
      used, own = processor_seconds(server.pid) - before, time.process_time() - own
      p50, p99 = 1000 * np.quantile(seconds, (0.5, 0.99))
      rate, each = len(seconds) / options.seconds, 1000 / len(seconds)
      print(f'{clients:7}{rate:12.1f}{p50:9.2f}{p99:9.2f}{used * each:32.2f}{own * each:9.2f}', flush=True)


def make(root: pathlib.Path) -> pathlib.Path:
  """The state of benchmarks/recsys_request.py --synthetic, made by a process that leaves this one's cores alone."""
  program = (
    'import pathlib, sys; sys.path.insert(0, "benchmarks"); import recsys_request as made\n'
    'from configs.recsys import synthetic; from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate\n'
    'config = synthetic.get_config(); shop = SyntheticConfig(**config.data.synthetic.to_dict())\n'
    'made.save(generate(shop).dataset, pathlib.Path(sys.argv[1]), config)\n'
  )
  subprocess.run([sys.executable, '-c', program, str(root)], check=True)
  return root


def serve(root: pathlib.Path, port: int, threads: int) -> None:
  import uvicorn

  from mlsd_jax.recsys import saved_state
  from mlsd_jax.serving import AnswerLog, Limits, RecommendService, Services, Shop, create_app
  from mlsd_jax.training import devices

  devices.configure_backend()
  state = saved_state.load(root)
  with tempfile.TemporaryDirectory() as folder:
    shop, answers = Shop(state, pathlib.Path(folder)), AnswerLog(pathlib.Path(folder, 'answers'))
    service = RecommendService('shop', state, shop=shop, answers=answers, threads=threads)
    services = Services(recommenders={'shop': service})
    uvicorn.run(create_app(services, Limits()), port=port, log_level='error')


async def wait_for_users(port: int, server: subprocess.Popen) -> list[str]:
  """Ids of users, one in ten of whom nobody knows."""
  while True:
    try:
      reader, writer = await asyncio.open_connection('127.0.0.1', port)
      break
    except OSError:
      if server.poll() is not None:
        raise SystemExit('the server ended') from None
      await asyncio.sleep(0.2)
  found = json.loads(await ask(reader, writer, b'GET /v1/users?limit=1000 HTTP/1.1\r\nHost: here\r\n\r\n'))
  writer.close()
  ids = [each['id'] for each in found['users']]
  return ['nobody' if i % 10 == 0 else id_ for i, id_ in enumerate(ids)]


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
  """The body of the answer, which must be one of status 200."""
  writer.write(request)
  head = await reader.readuntil(b'\r\n\r\n')
  length = int(head.lower().split(b'content-length:')[1].split(b'\r\n')[0])
  body = await reader.readexactly(length)
  assert head.startswith(b'HTTP/1.1 200'), head + body
  return body


async def drive(port: int, users: list[str], clients: int, seconds: float) -> list[float]:
  """Seconds of each request."""
  taken: list[float] = []
  end = time.perf_counter() + seconds

  async def client(number: int) -> None:
    rng = np.random.default_rng(number)
    reader, writer = await asyncio.open_connection('127.0.0.1', port)
    while (began := time.perf_counter()) < end:
      body = json.dumps({'user': users[rng.integers(len(users))]}).encode()
      fields = f'Host: here\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n'.encode()
      await ask(reader, writer, b'POST /v1/recommend HTTP/1.1\r\n' + fields + body)
      taken.append(time.perf_counter() - began)
    writer.close()

  await asyncio.gather(*map(client, range(clients)))
  return taken


def processor_seconds(pid: int) -> float:
  fields = pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
  return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == '__main__':
  main()
