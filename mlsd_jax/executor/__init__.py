"""One computation cut into parts, over threads, processes or a Ray cluster: each part a sealed folder, none made twice.

made = map_parts(
  {'part-000': ..., 'part-001': ...},                # name -> what the worker is handed
  functools.partial(Worker, model),                  # made once in each thread, process or actor
  'runs/vectors',                                    # or s3://BUCKET/vectors
  identity={'model': model.fingerprint},
  config=ExecutorConfig('ray'),
)
"""

from mlsd_jax.executor.config import ExecutorConfig
from mlsd_jax.executor.parts import Parts, map_parts, open_parts
from mlsd_jax.executor.place import is_remote

__all__ = ['ExecutorConfig', 'Parts', 'is_remote', 'map_parts', 'open_parts']
