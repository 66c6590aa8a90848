"""What makes the parts: how many workers there are, of what kind, and what each is given."""

import dataclasses
from typing import Annotated, Literal

from mlsd_jax.schema import Positive, above, at_least

Kind = Literal['here', 'threads', 'processes', 'ray']


@dataclasses.dataclass(frozen=True)
class ExecutorConfig:
  """Where parts are made. Which it is changes no result: a part is computed by itself, whoever computes it."""

  kind: Kind = 'here'  # one after the other; threads or processes of this machine; or actors of a Ray cluster
  workers: int = 0  # how many; 0 is one 'here', else one a core (of the cluster, for 'ray')
  cpus: Positive = 1  # cores of a worker: its XLA and OpenMP threads, and what Ray reserves
  gpus: Annotated[float, at_least(0)] = 0.0  # of a Ray worker
  tpus: Annotated[float, at_least(0)] = 0.0  # chips of a Ray worker
  memory_gigabytes: Annotated[float, at_least(0)] = 0.0  # that Ray reserves for a worker; 0 reserves none
  address: str = ''  # of a Ray cluster: HOST:PORT or auto; '' is $RAY_ADDRESS, else one that is started here
  attempts: Positive = 3  # workers that may die over one part before the run ends
  start_seconds: Annotated[float, above(0)] = 600.0  # within which a first worker is there
