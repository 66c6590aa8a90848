"""int8 weights for decoding on a CPU: what a product of one row takes beside float32, and the loss that rounding costs.

    python benchmarks/int8_decoding.py                                  # products of GPT-2 124M's sizes, in turn
    python benchmarks/int8_decoding.py --workdir=runs/gpt2/quickstart   # and the loss of a trained run, both ways

A matrix is rounded per channel: each output has its own scale, the largest weight by 127. XLA has no product of float32
by int8 on a CPU, so that weights are widened on the way: into the product (dot), or in one pass of multiplications and
sums (sum). Times are processor time, medians over rounds in which all take their turn.
"""

import argparse
import pathlib
import statistics
import time
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.data.tokens import EvalBatches
from mlsd_jax.language_model import pretrained, text_scores
from mlsd_jax.language_model.text import open_prepared, run_tokenizer
from mlsd_jax.language_model.text_preparation import prepare_text

SIZES = ((768, 2304), (768, 3072), (3072, 768))


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rounds', type=int, default=15)
  parser.add_argument('--workdir', type=pathlib.Path)
  options = parser.parse_args()
  for inputs, outputs in SIZES:
    compare(inputs, outputs, options.rounds)
  if options.workdir:
    losses(options.workdir)


def quantize(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """[I, O] -> int8 [I, O] and the scale of each output, float32 [O]."""
  scale = np.maximum(np.abs(matrix).max(0), 1e-12) / 127
  return np.round(matrix / scale).astype(np.int8), scale.astype(np.float32)


def compare(inputs: int, outputs: int, rounds: int, calls: int = 6) -> None:
  rng = np.random.default_rng(0)
  matrix = rng.standard_normal((inputs, outputs)).astype(np.float32)
  row = jnp.asarray(rng.standard_normal((1, inputs)), jnp.float32)
  rounded, scale = map(jnp.asarray, quantize(matrix))
  wide = lambda q: q.astype(jnp.float32)
  ways: dict[str, tuple[Any, tuple[Any, ...]]] = {
    'float32': (jax.jit(lambda x, w: x @ w), (row, jnp.asarray(matrix))),
    'int8 (dot)': (jax.jit(lambda x, q, s: (x @ wide(q)) * s), (row, rounded, scale)),
    'int8 (sum)': (jax.jit(lambda x, q, s: (x[0][:, None] * wide(q)).sum(0)[None] * s), (row, rounded, scale)),
  }
  seconds: dict[str, list[float]] = {name: [] for name in ways}
  for function, arguments in ways.values():
    jax.block_until_ready(function(*arguments))
  for _ in range(rounds):
    for name, (function, arguments) in ways.items():
      start = time.process_time()
      for _ in range(calls):
        made = function(*arguments)
      jax.block_until_ready(made)
      seconds[name].append((time.process_time() - start) / calls)
  first = statistics.median(seconds['float32'])
  told = [f'{name} {1000 * statistics.median(each):.3f} ms' for name, each in seconds.items()]
  ratios = [f'{statistics.median(seconds[name]) / first:.2f}' for name in list(ways)[1:]]
  print(f'{inputs} x {outputs}: {", ".join(told)}; of float32: {", ".join(ratios)}', flush=True)


def losses(workdir: pathlib.Path) -> None:
  from experiments import config_files

  params, model, _ = pretrained.load_run(workdir)
  config = config_files.read_stored(workdir, 'gpt2', 'quickstart', {})
  assert config is not None, f'{workdir} holds no run'
  text = open_prepared(prepare_text(config['data'], run_tokenizer(workdir)))
  batches = EvalBatches(text.val, 16, model.context_length)
  plain = text_scores.score_text(params, model, batches).loss
  flat = flax.traverse_util.flatten_dict(jax.tree.map(np.asarray, params), sep='/')
  saved = 0
  for path, leaf in flat.items():
    if path.endswith('/kernel'):
      inputs = leaf.shape[0] if not path.endswith('out/kernel') else int(np.prod(leaf.shape[:-1]))
      rounded, scale = quantize(leaf.reshape(inputs, -1))
      flat[path] = (rounded * scale).reshape(leaf.shape)
      saved += 3 * leaf.size - 4 * scale.size
  rounded_loss = text_scores.score_text(flax.traverse_util.unflatten_dict(flat, sep='/'), model, batches).loss
  print(
    f'{workdir}: validation loss {plain:.4f} in float32, {rounded_loss:.4f} with kernels of int8 '
    f'({rounded_loss - plain:+.4f}), {saved / 2**20:.2f} MiB less'
  )


if __name__ == '__main__':
  main()
