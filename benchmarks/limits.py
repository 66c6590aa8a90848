"""What the machine gives: products a second and bytes a second, as the models use them.

    python benchmarks/limits.py

FLOP/s are those of [1024, 768] @ [768, 3072], GPT-2's widest product over 1,024 tokens, in float32 and in bfloat16.
Memory is read in two ways, and the faster one counts, so that nothing reads faster than "the memory": a sum over half a
GB, and one row times 48 different matrices of [768, 3072], which is how decoding reads its weights. All threads of XLA
take part.
"""

import json
import subprocess
import sys
import time


def measured() -> dict[str, float]:
  """FLOP/s by dtype, and 'memory' in bytes a second; measured by a process of its own with a bfloat16 run's flags."""
  return json.loads(subprocess.run([sys.executable, __file__], stdout=subprocess.PIPE, check=True).stdout)


def best_seconds(call, runs: int) -> float:
  """Of `runs` calls after one that compiles and touches memory."""
  import jax

  jax.block_until_ready(call())
  seconds = []
  for _ in range(runs):
    began = time.perf_counter()
    jax.block_until_ready(call())
    seconds.append(time.perf_counter() - began)
  return min(seconds)


def product_speed(dtype) -> float:
  """FLOP/s of [1024, 768] @ [768, 3072] in `dtype`."""
  import jax
  import jax.numpy as jnp

  left, right = jnp.ones((1024, 768), dtype), jnp.ones((768, 3072), dtype)
  product = jax.jit(lambda left, right: left @ right)
  return 2 * 1024 * 768 * 3072 / best_seconds(lambda: product(left, right), 15)


def memory_speed() -> float:
  """Bytes a second of reading memory that no cache holds."""
  import jax
  import jax.numpy as jnp

  flat = jnp.ones(128 * 1024 * 1024, jnp.float32)
  total = jax.jit(jnp.sum)
  speeds = [flat.nbytes / best_seconds(lambda: total(flat), 5)]
  matrices = [jnp.full((768, 3072), 1 / (n + 1), jnp.float32) for n in range(48)]
  row = jnp.ones((1, 768), jnp.float32)
  rows = jax.jit(lambda row, matrices: [row @ matrix for matrix in matrices])
  speeds.append(sum(matrix.nbytes for matrix in matrices) / best_seconds(lambda: rows(row, matrices), 10))
  return max(speeds)


def main() -> None:
  from mlsd_jax.training import devices

  devices.configure_backend(bfloat16=True)
  found = {dtype: product_speed(dtype) for dtype in ('float32', 'bfloat16')}
  print(json.dumps(found | {'memory': memory_speed()}))


if __name__ == '__main__':
  main()
