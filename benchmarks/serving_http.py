"""What HTTP costs: tokens of 16 streams beside the engine alone, a search beside the same in process; and embeddings
beside sentence-transformers behind FastAPI.

    python -m benchmarks.serving_http                                  # GPT-2 124M of random weights, bfloat16
    python -m benchmarks.serving_http --size=tiny --rounds=2
    python -m benchmarks.serving_http --peer_python=ENV/bin/python     # with fastapi, uvicorn, sentence-transformers

All sides share the same processors, in one run and by turns. The server is this process's own: uvicorn in a thread over
the engine that is also run alone. Clients are threads with a socket each, and their work counts on HTTP's side.
"""

import argparse
import asyncio
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from mlsd_jax.training import devices

devices.configure_backend(bfloat16=True)

import jax
import jax.numpy as jnp
import numpy as np
import uvicorn

from benchmarks.engine import TINY
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.generation import Request, SamplingConfig
from mlsd_jax.models import bert, gpt
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.pages import MARKDOWN, Page
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.retrieval.store import open_store
from mlsd_jax.serving import Limits, SearchService, Services, TextService, VectorService, create_app
from mlsd_jax.tokenizers import ByteTokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer
from mlsd_jax.training.step import cast_floating

STREAMS = 16
CLIENTS = (1, 4, 16, 64)
SUBJECTS = ('folders', 'archives', 'numbers', 'dates', 'mail', 'lists', 'threads', 'sockets')
_PEER = pathlib.Path(__file__).with_name('serving_peer.py')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--size', default='gpt2', choices=[*gpt.SIZES, 'tiny'])
  parser.add_argument('--tokens', type=int, default=64, help='of each stream')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--searches', type=int, default=300)
  parser.add_argument('--requests', type=int, default=256, help='for embeddings, of each number of clients')
  parser.add_argument('--peer_python', type=pathlib.Path)
  options = parser.parse_args()
  with tempfile.TemporaryDirectory() as folder:
    encoder, searcher = make_corpus(pathlib.Path(folder))
    config = gpt.GPTConfig(**(TINY if options.size == 'tiny' else gpt.SIZES[options.size]))
    params = cast_floating(jax.jit(gpt.init, static_argnums=1)(jax.random.key(0), config), jnp.bfloat16)
    text = TextService('gpt', params, config, ByteTokenizer(), slots=STREAMS, prefix_blocks=0)
    services = Services({'gpt': text}, {'small': VectorService('small', encoder)})
    services.searches['docs'] = SearchService('docs', searcher)
    with serving(services) as port:
      compare_streams(text, port, options)
      compare_searches(services.searches['docs'], port, options.searches)
      compare_embeddings(encoder, port, pathlib.Path(folder), options)


def make_corpus(folder: pathlib.Path) -> tuple[Encoder, Searcher]:
  """An encoder of random weights, and an index of pages."""
  text = '# All about {0}\n\nThis is how {0} number {1} are read, copied and written.\n'
  numbered = [(subject, i) for i in range(12) for subject in SUBJECTS]
  pages = [Page(f'{s} {i}', f'About {s} {i}', text.format(s, i), 'a', MARKDOWN) for s, i in numbered]
  tokenizer = WordPieceTokenizer.train([page.text for page in pages], 300)
  encoder = fresh_encoder('small', bert.BertConfig(tokenizer.vocab_size, 128), tokenizer)  # MiniLM's size
  build_store(pages, folder / 'store', encoder, BuildConfig(near_duplicate=0))
  encoder.save(folder / 'encoder')
  return encoder, Searcher(open_store(folder / 'store', encoder), encoder, SearchConfig(pages=5))


@contextlib.contextmanager
def serving(services: Services) -> Iterator[int]:
  with socket.create_server(('127.0.0.1', 0)) as listener:
    server = uvicorn.Server(uvicorn.Config(create_app(services, Limits()), log_level='error'))
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
    thread.start()
    while not server.started:
      time.sleep(0.1)
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def post(connection: http.client.HTTPConnection, path: str, body: Any) -> bytes:
  connection.request('POST', path, json.dumps(body), {'Content-Type': 'application/json'})
  answer = connection.getresponse()
  data = answer.read()
  assert answer.status == 200, data[:300]
  return data


def timed(function: Callable[[], Any]) -> tuple[float, float]:
  """Seconds on the clock and of the processor."""
  wall, processor = time.perf_counter(), time.process_time()
  function()
  return time.perf_counter() - wall, time.process_time() - processor


def compare_streams(text: TextService, port: int, options: argparse.Namespace) -> None:
  prompts = [f'The number of stream {i} is' for i in range(STREAMS)]
  ids = [text.tokenizer.encode(prompt) for prompt in prompts]
  sampling = SamplingConfig(temperature=0.0)

  def alone() -> None:
    """Through the same thread and queues, without HTTP, JSON and text of pieces."""

    async def run() -> None:
      requests = [(Request(each, sampling, options.tokens, ends=False), ()) for each in ids]
      async for _ in text.write(requests):
        pass

    asyncio.run(run())

  def client(prompt: str) -> None:
    connection = http.client.HTTPConnection('127.0.0.1', port)
    body = {'model': 'gpt', 'prompt': prompt, 'max_tokens': options.tokens, 'temperature': 0, 'stream': True}
    body['logit_bias'] = {str(ByteTokenizer.end_of_text): -100}
    assert post(connection, '/v1/completions', body).endswith(b'[DONE]\n\n')

  def streams() -> None:
    with concurrent.futures.ThreadPoolExecutor(STREAMS) as pool:
      list(pool.map(client, prompts))

  alone(), streams()
  taken = {'engine': [], 'http': []}
  for _ in range(options.rounds):
    taken['engine'].append(timed(alone))
    taken['http'].append(timed(streams))
  tokens = STREAMS * options.tokens
  (wall, cpu), (wall_http, cpu_http) = (np.median(each, axis=0) for each in taken.values())
  print(f'{STREAMS} streams of {options.tokens} tokens, GPT-2 {options.size}    tokens/s   processor ms a token')
  print(f'  the engine alone                      {tokens / wall:12.1f} {1000 * cpu / tokens:14.3f}')
  print(f'  over HTTP, clients included           {tokens / wall_http:12.1f} {1000 * cpu_http / tokens:14.3f}')
  share, each = 100 * (wall_http / wall - 1), 1e6 * (cpu_http - cpu) / tokens
  print(f'  HTTP adds {share:.1f}% of time, {each:.0f} us of processor a token')


def compare_searches(service: SearchService, port: int, number: int) -> None:
  connection = http.client.HTTPConnection('127.0.0.1', port)
  queries = [f'how are {SUBJECTS[i % len(SUBJECTS)]} {i} copied' for i in range(number)]
  over, within = [], []
  for i, query in enumerate(queries):  # by turns
    for side in (0, 1) if i % 2 else (1, 0):
      if side:
        began = time.perf_counter()
        service._search(query, '')
        within.append(time.perf_counter() - began)
      else:
        over.append(timed(lambda query=query: post(connection, '/v1/search', {'query': query, 'number': 5}))[0])
  p50, p99 = (1000 * np.quantile(within, q) for q in (0.5, 0.99))
  over50, over99 = (1000 * np.quantile(over, q) for q in (0.5, 0.99))
  beside = f'in process p50 {p50:.2f} ms, p99 {p99:.2f}; over HTTP {over50:.2f}, {over99:.2f}'
  print(f'a search: {beside}: adds {over50 - p50:.2f} ms')


def compare_embeddings(encoder: Encoder, port: int, folder: pathlib.Path, options: argparse.Namespace) -> None:
  sides = {'ours': (port, '/v1/embeddings', {'model': 'small'})}
  with contextlib.ExitStack() as held:
    if options.peer_python:
      peer = subprocess.Popen([options.peer_python, _PEER, folder / 'encoder'], stdout=subprocess.PIPE, text=True)
      held.callback(peer.kill)
      assert peer.stdout is not None
      sides['sentence-transformers'] = (int(peer.stdout.readline()), '/v1/embeddings', {'model': 'small'})
    texts = [f'how are {SUBJECTS[i % len(SUBJECTS)]} number {i} read and written' for i in range(options.requests)]
    for clients in CLIENTS:
      for name, (at, path, body) in sides.items():
        embed(at, path, body, texts[: 4 * clients], clients)  # what is compiled once
        wall, seconds = embed(at, path, body, texts, clients)
        p50, p99 = (1000 * np.quantile(seconds, q) for q in (0.5, 0.99))
        rate = len(texts) / wall
        print(f'embeddings, {clients:2} clients, {name:<22} {rate:8.1f} texts/s, p50 {p50:7.1f} ms, p99 {p99:7.1f}')


def embed(port: int, path: str, body: dict[str, Any], texts: list[str], clients: int) -> tuple[float, list[float]]:
  """Seconds in all, and of each request."""

  def client(mine: list[str]) -> list[float]:
    connection = http.client.HTTPConnection('127.0.0.1', port)
    return [timed(lambda text=text: post(connection, path, body | {'input': text}))[0] for text in mine]

  began = time.perf_counter()
  with concurrent.futures.ThreadPoolExecutor(clients) as pool:
    seconds = [each for part in pool.map(client, [texts[i::clients] for i in range(clients)]) for each in part]
  return time.perf_counter() - began, seconds


if __name__ == '__main__':
  main()
