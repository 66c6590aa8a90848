"""Continuous batching beside static batches and one request at a time, and how long a first token takes under load.

    python benchmarks/engine.py                      # GPT-2 124M of random weights, bfloat16
    python benchmarks/engine.py --size=tiny --requests=32

All sides run the same requests, of mixed lengths, on one engine's programs. "Concurrent" clients send their next
request when the last has ended. Of one request at a time the first few are timed. Nothing is compared that compiled.
"""

import argparse
import collections
import time
from collections.abc import Sequence

from mlsd_jax.training import devices

devices.configure_backend(bfloat16=True)

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.generation import Engine, GPTDecoder, Request, SamplingConfig
from mlsd_jax.models import gpt
from mlsd_jax.training.step import cast_floating

TINY = dict(num_layers=2, num_heads=2, embed_dim=64, vocab_size=512, context_length=512)
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def make_requests(number: int, vocab: int, seed: int = 0) -> list[Request]:
  """Prompts of 8 to 192 tokens and texts of 8 to 192, log-uniform: most are short and some are long."""
  rng = np.random.default_rng(seed)
  lengths = np.exp(rng.uniform(np.log(8), np.log(192), (number, 2))).astype(int)
  sampling = SamplingConfig(temperature=0.8)
  return [
    Request(rng.integers(0, vocab, prompt), sampling, int(new), seed=i) for i, (prompt, new) in enumerate(lengths)
  ]


def run_concurrent(engine: Engine, requests: Sequence[Request], clients: int, wait_for_all: bool = False) -> float:
  """Tokens a second with so many requests under way; with `wait_for_all` the next ones begin together."""
  began, before = time.perf_counter(), engine.stats.new_tokens
  rest = collections.deque(requests)
  under_way = 0
  while rest or engine.busy:
    if not (wait_for_all and engine.busy):
      while rest and under_way < clients:
        engine.submit(rest.popleft())
        under_way += 1
    under_way -= sum(event.finish is not None for event in engine.step())
  return (engine.stats.new_tokens - before) / (time.perf_counter() - began)


def first_token_seconds(engine: Engine, requests: Sequence[Request], arrivals: Sequence[float]) -> list[float]:
  """From each request's arrival, seconds after the start, to its first token."""
  began = time.perf_counter()
  rest = collections.deque(zip(arrivals, requests, strict=True))
  arrived: dict[int, float] = {}
  first: dict[int, float] = {}
  while rest or engine.busy:
    while rest and rest[0][0] <= time.perf_counter() - began:
      at, request = rest.popleft()
      arrived[engine.submit(request)] = at
    if not engine.busy:
      time.sleep(max(0.0, rest[0][0] - (time.perf_counter() - began)))
      continue
    for event in engine.step():
      first.setdefault(event.id, time.perf_counter() - began)
  return [first[number] - at for number, at in arrived.items()]


def alone(engine: Engine, requests: Sequence[Request]) -> list[float]:
  """Seconds to the first token of each request with nothing else there."""
  return [first_token_seconds(engine, [request], [0.0])[0] for request in requests]


def show(name: str, found: float, other: float, unit: str) -> None:
  print(f'  {name:<44} {found:9.2f} {unit:<9} {found / other:6.2f} x')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--size', default='gpt2', choices=[*gpt.SIZES, 'tiny'])
  parser.add_argument('--dtype', default='bfloat16', choices=DTYPES)
  parser.add_argument('--slots', type=int, default=16)
  parser.add_argument('--requests', type=int, default=64)
  parser.add_argument('--alone', type=int, default=6, help='requests of the side that takes one at a time')
  parser.add_argument('--rounds', type=int, default=2)
  parser.add_argument('--load', type=float, default=0.7, help='of the rate that 16 clients reach')
  options = parser.parse_args()

  config = gpt.GPTConfig(**(TINY if options.size == 'tiny' else gpt.SIZES[options.size]))
  params = jax.jit(gpt.init, static_argnums=1)(jax.random.key(0), config)
  params = cast_floating(params, DTYPES[options.dtype])
  decoder = GPTDecoder(config, config.vocab_size)
  requests = make_requests(options.requests, config.vocab_size)

  def make(slots: int) -> Engine:
    # No prefix is shared here, and none is kept between two runs of the same prompts.
    engine = Engine(decoder, params, slots=slots, max_length=384, prefix_blocks=0)
    print(f'{slots} slots: {engine.stats.programs} programs, then warm in {engine.warm_up():.0f} s')
    return engine

  print(f'{options.size} {options.dtype} on {jax.devices()[0].device_kind}, {options.requests} requests')
  engine = make(options.slots)
  single = make(4 if options.dtype == 'bfloat16' else 1)  # bfloat16 takes longer for fewer rows than 4
  programs = engine.stats.programs

  rates: dict[str, list[float]] = {'continuous': [], 'static': [], 'alone': []}
  for _ in range(options.rounds):
    rates['continuous'].append(run_concurrent(engine, requests, options.slots))
    rates['static'].append(run_concurrent(engine, requests, options.slots, wait_for_all=True))
    rates['alone'].append(run_concurrent(single, requests[: options.alone], 1))
  best = {name: float(np.median(values)) for name, values in rates.items()}
  print('tokens a second                                                    beside ours')
  show(f'{options.slots} clients, continuous', best['continuous'], best['continuous'], 'tokens/s')
  show(f'static batches of {options.slots}', best['static'], best['continuous'], 'tokens/s')
  show('one at a time', best['alone'], best['continuous'], 'tokens/s')
  print(
    f'  continuous / static {best["continuous"] / best["static"]:.2f}, / one {best["continuous"] / best["alone"]:.2f}'
  )

  tokens = sum(request.max_tokens for request in requests) / len(requests)
  rate = options.load * best['continuous'] / tokens
  arrivals = np.cumsum(np.random.default_rng(1).exponential(1 / rate, len(requests))).tolist()
  by_itself = alone(engine, requests)
  loaded = first_token_seconds(engine, requests, arrivals)
  print(f'first token, {rate:.2f} requests/s ({options.load} of capacity), Poisson           beside alone')
  for name, quantile in (('median', 0.5), ('p99', 0.99)):
    base, found = np.quantile(by_itself, quantile), np.quantile(loaded, quantile)
    show(f'{name} alone', 1e3 * base, 1e3 * base, 'ms')
    show(f'{name} under load', 1e3 * found, 1e3 * base, 'ms')

  burst = requests[: options.slots]
  ahead = np.cumsum(by_itself[: options.slots])
  found = first_token_seconds(engine, burst, [0.0] * len(burst))
  print('first token in a burst                                   beside the prompts up to it')
  show(f'last of {len(burst)}', 1e3 * found[-1], 1e3 * ahead[-1], 'ms')
  worst = int(np.argmax(np.array(found) / ahead))
  show(f'worst, number {worst + 1}', 1e3 * found[worst], 1e3 * ahead[worst], 'ms')
  print(f'programs compiled since the warm-up: {engine.stats.programs - programs}')


if __name__ == '__main__':
  main()
