"""What the trainer needs to know of a system, and nothing more."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import numpy as np

from mlsd_jax.training.sharding import Rules

type Batch = dict[str, Any]  # arrays whose first axis is the batch
type Metrics = dict[str, tuple[jax.Array, jax.Array]]  # name -> (sum, weight); the value shown is sum / weight


@dataclasses.dataclass(frozen=True)
class Task:
  """A system as pure functions.

  Attributes:
    init: key -> params, a nested dict of float32 arrays.
    loss: (params, batch, key) -> (loss, metrics). The loss is a mean; metrics['loss'] = (sum, weight) says over how
      many items. The trainer weighs microbatches and devices by that weight, so that accumulating or sharding a batch
      gives the gradient of the whole batch, also when items are masked. `key` is None-able only for tasks that use no
      randomness.
    evaluate: (params, batch) -> metrics, deterministic.
    lookups: batch -> ids [n] by the path of a table. Where given, `loss` finds at those paths not the tables but the
      rows that were looked up, [n, D]; where the optimiser allows it, these rows alone are then updated
      (row_updates.py). `evaluate` has the tables.
    sharding_rules: parameter path -> logical axes, see training/sharding.py.
    flops_per_batch: forward and backward floating-point operations of one global batch (for MFU).
    items_per_batch: how many `item_name` one global batch holds (for the throughput shown).
    item_name: 'tokens', 'examples', ...
  """

  init: Callable[[jax.Array], Any]
  loss: Callable[[Any, Batch, jax.Array], tuple[jax.Array, Metrics]]
  evaluate: Callable[[Any, Batch], Metrics]
  lookups: Callable[[Batch], dict[str, jax.Array]] | None = None
  sharding_rules: Rules = ()
  flops_per_batch: float = 0.0
  items_per_batch: int = 0
  item_name: str = 'examples'


class TrainData(Protocol):
  """An endless, seeded stream of global batches, addressable by number."""

  def batches(self, start: int, rows: slice) -> Iterator[dict[str, np.ndarray]]:
    """Rows `rows` of global batch number start, start + 1, ... without end.

    Batch i is the same whatever `start` and `rows` are: that is what makes a resumed run, and a run on another number
    of processes, see the same data.
    """
    ...


class EvalData(Protocol):
  """A finite list of global batches, all of one shape; the last is padded with zero-weight rows."""

  def __len__(self) -> int: ...

  def batches(self, rows: slice) -> Iterator[dict[str, np.ndarray]]:
    """Rows `rows` of every global batch, in order."""
    ...
