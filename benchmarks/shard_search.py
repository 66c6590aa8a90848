"""Sharded search over four processes beside one: recall, rates, and what a stopped shard does to the slowest answers.

python benchmarks/shard_search.py                                # 200,000 made vectors of 64 dimensions, 4 searchers
python benchmarks/shard_search.py --count=2000000 --dim=384 --seconds=60

Vectors are drawn around 1,000 centres, queries like them. Recall@10 is against exact search. Rates are of --clients
that ask one query after the other, the one process and the root of four in turns. Then one searcher is sent SIGSTOP.
"""

import argparse
import asyncio
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

import httpx
import numpy as np

from mlsd_jax.ann import IndexConfig, exact
from mlsd_jax.ann.index_parts import build_parts
from mlsd_jax.executor import ExecutorConfig

SEARCHER = """
import sys, uvicorn
from mlsd_jax.executor import open_parts
from mlsd_jax.serving.shard_search import Shards, create_searcher, own_of
parts = open_parts(sys.argv[1])
names = own_of(list(parts.seals), int(sys.argv[2]), int(sys.argv[3]))
uvicorn.run(create_searcher(Shards.open(parts, names)), port=int(sys.argv[4]), log_level='error')
"""
ROOT = """
import sys, uvicorn
from mlsd_jax.serving.shard_search import RootConfig, create_root
config = RootConfig(deadline_seconds=float(sys.argv[2]), rest_seconds=float(sys.argv[3]))
uvicorn.run(create_root([[each] for each in sys.argv[4:]], config), port=int(sys.argv[1]), log_level='error')
"""


def make(count: int, dim: int, seed: int, centres: np.ndarray) -> np.ndarray:
  rng = np.random.default_rng(seed)
  made = centres[rng.integers(0, len(centres), count)] + rng.normal(size=(count, dim)).astype(np.float32)
  return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def free_port() -> int:
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    return probe.getsockname()[1]


class Service:
  """Searchers over the shards of a folder, and their root."""

  def __init__(self, folder: pathlib.Path, groups: int, deadline: float, rest: float):
    ports = [free_port() for _ in range(groups + 1)]
    self.url = f'http://127.0.0.1:{ports[-1]}'
    commands = [
      [SEARCHER, str(folder), str(group), str(groups), str(port)] for group, port in enumerate(ports[:-1])
    ] + [[ROOT, str(ports[-1]), str(deadline), str(rest), *(f'http://127.0.0.1:{port}' for port in ports[:-1])]]
    self.processes = [subprocess.Popen([sys.executable, '-c', *command]) for command in commands]
    for port in ports:
      self._wait(f'http://127.0.0.1:{port}/ready')

  def _wait(self, url: str) -> None:
    for _ in range(1200):
      try:
        if httpx.get(url, timeout=5).status_code == 200:
          return
      except httpx.HTTPError:
        time.sleep(0.1)
    raise SystemExit(f'{url} does not answer')

  def close(self) -> None:
    for process in self.processes:
      process.kill()
      process.wait()


async def drive(url: str, queries: np.ndarray, clients: int, seconds: float) -> tuple[list[float], list[dict]]:
  """Latencies in seconds, and the answers, of clients that ask one after the other."""
  latencies: list[float] = []
  answers: list[dict] = []
  async with httpx.AsyncClient(timeout=60, trust_env=False) as client:

    async def one(number: int) -> None:
      row, end = number, time.perf_counter() + seconds
      while time.perf_counter() < end:
        began = time.perf_counter()
        body = {'vector': queries[row % len(queries)].tolist(), 'k': 10}
        answer = (await client.post(f'{url}/v1/search', json=body)).json()
        latencies.append(time.perf_counter() - began)
        answers.append({'row': row % len(queries), **answer})
        row += clients

    await asyncio.gather(*(one(number) for number in range(clients)))
  return latencies, answers


def recall(answers: list[dict], truth: np.ndarray) -> float:
  """Mean recall@10, each query once."""
  found = {answer['row']: {hit['id'] for hit in answer['hits']} for answer in answers}
  return statistics.mean(len(ids & set(truth[row].tolist())) / 10 for row, ids in found.items())


def p(values: list[float], share: float) -> float:
  return 1000 * float(np.quantile(values, share))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--count', type=int, default=200_000)
  parser.add_argument('--dim', type=int, default=64)
  parser.add_argument('--shards', type=int, default=4)
  parser.add_argument('--clients', type=int, default=4)
  parser.add_argument('--seconds', type=float, default=10.0, help='of each measurement')
  parser.add_argument('--rounds', type=int, default=3)
  parser.add_argument('--deadline', type=float, default=0.5)
  parser.add_argument('--workers', type=int, default=2, help='processes that build')
  arguments = parser.parse_args()
  centres = np.random.default_rng(0).normal(size=(1000, arguments.dim)).astype(np.float32) * 1.5
  vectors = make(arguments.count, arguments.dim, 1, centres)
  queries = make(200, arguments.dim, 2, centres)
  truth, _ = exact.search(queries, vectors, 10)
  with tempfile.TemporaryDirectory() as place:
    path = pathlib.Path(place, 'vectors.npy')
    np.save(path, vectors)
    del vectors
    settings = IndexConfig(kind='tree')
    began = time.perf_counter()
    part = -(-arguments.count // arguments.shards)
    config = ExecutorConfig('processes', workers=arguments.workers)
    build_parts(path, f'{place}/several', part=part, settings=settings, config=config)
    print(f'{arguments.shards} shards of {part:,} x {arguments.dim} built in {time.perf_counter() - began:.1f} s')
    began = time.perf_counter()
    build_parts(path, f'{place}/one', part=arguments.count, settings=settings)
    print(f'one index of all built in {time.perf_counter() - began:.1f} s')
    services = {
      'one process': Service(pathlib.Path(place, 'one'), 1, 30.0, 1.0),
      f'{arguments.shards} processes': Service(pathlib.Path(place, 'several'), arguments.shards, 30.0, 1.0),
    }
    try:
      run = lambda url: asyncio.run(drive(url, queries, arguments.clients, arguments.seconds))
      for service in services.values():
        asyncio.run(drive(service.url, queries, arguments.clients, 2.0))
      latencies: dict[str, list[float]] = {name: [] for name in services}
      answers: dict[str, list[dict]] = {name: [] for name in services}
      for _ in range(arguments.rounds):
        for name, service in services.items():
          one, found = run(service.url)
          latencies[name] += one
          answers[name] += found
      print(f'{"":<16}{"recall@10":>10}{"QPS":>8}{"p50 ms":>9}{"p99 ms":>9}')
      for name, taken in latencies.items():
        rate = len(taken) / arguments.rounds / arguments.seconds
        print(f'{name:<16}{recall(answers[name], truth):10.4f}{rate:8.1f}{p(taken, 0.5):9.1f}{p(taken, 0.99):9.1f}')
      one, several = (len(taken) for taken in latencies.values())
      print(f'QPS of {arguments.shards} processes over that of one: {several / one:.2f}, on {os.cpu_count()} cores')
    finally:
      for service in services.values():
        service.close()
    service = Service(pathlib.Path(place, 'several'), arguments.shards, arguments.deadline, 0.0001)
    try:
      asyncio.run(drive(service.url, queries, arguments.clients, 2.0))
      service.processes[0].send_signal(signal.SIGSTOP)
      print(f'one shard of {arguments.shards} stopped (SIGSTOP), deadline {1000 * arguments.deadline:g} ms:')
      taken, found = run(service.url)
      failed = sum(answer['shards_failed'] == [0] for answer in found)
      waited = [each for each in taken if each > arguments.deadline / 2]
      print(
        f'  {failed} of {len(found)} answers name it; recall@10 {recall(found, truth):.4f}; '
        f'p50 {p(taken, 0.5):.1f} ms, p99 {p(taken, 0.99):.1f} ms, slowest {p(taken, 1.0):.1f} ms; '
        f'{len(waited)} waited for it'
      )
    finally:
      service.processes[0].send_signal(signal.SIGCONT)
      service.close()


if __name__ == '__main__':
  main()
