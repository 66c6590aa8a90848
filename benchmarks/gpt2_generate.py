"""Greedy decoding with a KV cache: tokens a second of ours and of transformers' generate(), in one run.

    python benchmarks/gpt2_generate.py --peer_python=/path/to/python     # one with torch and transformers

Both sides hold the same random weights and continue the same prompts; runs alternate, medians are shown. The floor is
the time to read every weight once a token at the speed of memory that benchmarks/limits.py measures.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import limits
import record
from side import Side

from mlsd_jax.training import devices

devices.configure_backend(bfloat16=True)

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.generation import Engine, GPTDecoder, Request, SamplingConfig
from mlsd_jax.generation.row_padding import smallest_rows
from mlsd_jax.language_model import gpt2_folder
from mlsd_jax.models import gpt
from mlsd_jax.training.step import cast_floating

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def decoder_run(params, config, batch: int, prompt_tokens: int, new_tokens: int) -> Callable[[], float]:
  """A function that decodes once and returns the seconds it took."""
  decoder = GPTDecoder(config, config.vocab_size)
  prompts = list(np.arange(batch * prompt_tokens, dtype=np.int32).reshape(batch, prompt_tokens) % 1000)
  slots = max(batch, smallest_rows(params))
  engine = Engine(
    decoder,
    params,
    slots=slots,
    max_length=prompt_tokens + new_tokens,
    dispatch_seconds=float('inf'),
    read_rows=8,  # as generate() has it
    prefix_blocks=0,
  )

  def run() -> float:
    began, before = time.perf_counter(), engine.stats.new_tokens
    for prompt in prompts:
      engine.submit(Request(prompt, SamplingConfig(temperature=0.0), new_tokens))
    while engine.busy:
      engine.step()
    assert engine.stats.new_tokens - before == batch * new_tokens
    return time.perf_counter() - began

  return run


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--size', default='gpt2', choices=gpt.SIZES)
  parser.add_argument('--batch', type=int, nargs='+', default=[1, 8])
  parser.add_argument('--prompt_tokens', type=int, default=32)
  parser.add_argument('--new_tokens', type=int, default=64)
  parser.add_argument('--runs', type=int, default=5)
  parser.add_argument('--peer_python', default=os.environ.get('MLSD_PEER_PYTHON'))
  options = parser.parse_args()

  config = gpt.GPTConfig(**gpt.SIZES[options.size])
  params = jax.jit(gpt.init, static_argnums=1)(jax.random.key(0), config)
  speed = limits.measured()['memory']
  print(
    f'{options.size} on {jax.devices()[0].device_kind}, {options.prompt_tokens} + {options.new_tokens} tokens greedy'
  )
  print(f'memory reads {speed / 1e9:.1f} GB/s')
  if not options.peer_python:
    print('no peer: give --peer_python or MLSD_PEER_PYTHON, an interpreter with torch and transformers')
  with tempfile.TemporaryDirectory() as folder:
    if options.peer_python:
      gpt2_folder.save_gpt2(jax.device_get(params), config, f'{folder}/gpt2')
    for batch in options.batch:
      sides: dict[str, Callable[[], float]] = {}
      for name, dtype in DTYPES.items():
        cast = cast_floating(params, dtype)
        sides[f'ours {name}'] = decoder_run(cast, config, batch, options.prompt_tokens, options.new_tokens)
      peer = None
      if options.peer_python:
        arguments = (f'{folder}/gpt2', batch, options.prompt_tokens, options.new_tokens)
        peer = Side([options.peer_python, pathlib.Path(__file__).parent / 'torch_generate.py', *arguments])
        peer.ready()
        for name in DTYPES:
          sides[f'transformers {name}'] = lambda name=name, peer=peer: peer.run(name)
      report(sides, batch, options, gpt.num_params(params), speed)
      if peer:
        peer.close()


def report(sides: dict[str, Callable[[], float]], batch: int, options, num_params: int, speed: float) -> None:
  for run in sides.values():
    run()  # compiles, touches the weights
  seconds: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(options.runs):
    for name, run in sides.items():
      seconds[name].append(run())
  rates = {name: batch * options.new_tokens / statistics.median(values) for name, values in seconds.items()}
  print(f'batch {batch}')
  for name, rate in rates.items():
    bytes_per_weight = 4 if 'float32' in name else 2
    floor = batch * speed / (bytes_per_weight * num_params)
    print(f'  {name:<24} {rate:8.1f} tokens/s   {rate / floor:5.1%} of what reading the weights allows')
  best = {
    who: max((n for n in rates if n.startswith(who)), key=rates.get, default='') for who in ('ours', 'transformers')
  }
  ours, theirs = best['ours'], best['transformers']
  if theirs:
    print(f'  best of ours / best of theirs  {rates[ours] / rates[theirs]:.2f}')
    floor = batch * speed / ((4 if 'float32' in ours else 2) * num_params)
    mine, others = ([batch * options.new_tokens / each for each in seconds[name]] for name in (ours, theirs))
    what = f'decoding {options.size}, batch {batch}'
    record.pair(what, mine, others, against=theirs, unit='tokens/s', more_is_better=True, limit=floor)


if __name__ == '__main__':
  main()
