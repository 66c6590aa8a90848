"""What the trainer needs to know of a system, and nothing more."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.training.sharding import Rules

type Batch = dict[str, Any]  # arrays whose first axis is the batch
type AxisName = tuple[str, ...]  # mesh axes that a batch is split over per device; () where it is whole
type Metrics = dict[str, tuple[jax.Array, jax.Array]]  # name -> (sum, weight); the value shown is sum / weight


@dataclasses.dataclass(frozen=True)
class Task:
  """A system as pure functions.

  Attributes:
    init: key -> params, a nested dict of float32 arrays.
    loss: (params, batch, key) -> (loss, metrics). The loss is a mean; metrics['loss'] = (sum, weight) says over how
      many items. The trainer weighs microbatches and devices by that weight, so that accumulating or sharding a batch
      gives the gradient of the whole batch, also when items are masked, even all of a part (`average_loss`). `key` is
      None-able only for tasks that use no randomness.
    evaluate: (params, batch) -> metrics, deterministic.
    lookups: batch -> ids [n] by the path of a table. Where given, `loss` finds at those paths not the tables but the
      rows that were looked up, [n, D]; where the optimiser allows it, these rows alone are then updated
      (row_updates.py). `evaluate` has the tables.
    frozen: parameters that are not trained, laid out over devices by the same rules. `init` then makes those that are,
      and `join` the model's of both; gradients, optimiser state and checkpoints are of the trained ones alone, and
      `loss` and `evaluate` have what `join` made, in the dtype of the pass.
    join: (trained, frozen) -> parameters of the model.
    sharding_rules: parameter path -> logical axes, see training/sharding.py.
    whole_batch: whether an item's loss depends on the other items of its batch (negatives of the batch, batch
      normalisation). `loss` then takes `axis_name` too: () where it is handed the whole batch, else the mesh axes over
      which devices hold the rest of it, to be gathered or summed over (`gather_rows`). Such a loss has no microbatches.
    probe: makes a task that costs its parts in much the same shares and compiles faster (fewer layers), by which the
      number of microbatches is measured (microbatches.py). None where that may not be left to the machine: the loss
      draws random numbers, which would be others, or depends on the whole batch.
    flops_per_batch: forward and backward floating-point operations of one global batch (for MFU).
    items_per_batch: how many `item_name` one global batch holds (for the throughput shown).
    item_name: 'tokens', 'examples', ...
  """

  init: Callable[[jax.Array], Any]
  loss: Callable[..., tuple[jax.Array, Metrics]]
  evaluate: Callable[[Any, Batch], Metrics]
  lookups: Callable[[Batch], dict[str, jax.Array]] | None = None
  frozen: Any = None
  join: Callable[[Any, Any], Any] | None = None
  sharding_rules: Rules = ()
  whole_batch: bool = False
  probe: 'Callable[[], Task] | None' = None
  flops_per_batch: float = 0.0
  items_per_batch: int = 0
  item_name: str = 'examples'


def average_loss(metrics: Metrics) -> tuple[jax.Array, Metrics]:
  """What a Task's loss returns of its metrics: sum / weight of 'loss', beside them.

  0 where nothing counts: a microbatch or a device may be handed masked items only, and 0 / 0 would reach every
  parameter through the sum over the parts.
  """
  total, weight = metrics['loss']
  return total / jnp.where(weight > 0, weight, 1.0), metrics


def gather_rows(x: jax.Array, axis_name: AxisName) -> jax.Array:
  """The rows [b, ...] of this device -> those of all devices, [B, ...]; gradients find their way back to their rows."""
  return jax.lax.all_gather(x, axis_name, tiled=True) if axis_name else x


def first_row(rows: int, axis_name: AxisName) -> jax.Array | int:
  """The place in the whole batch of the first of this device's `rows` rows."""
  return jax.lax.axis_index(axis_name) * rows if axis_name else 0


class TrainData(Protocol):
  """An endless, seeded stream of global batches, addressable by number."""

  def batches(self, start: int, rows: slice | np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Rows `rows` of global batch number start, start + 1, ... without end.

    Batch i is the same whatever `start` and `rows` are: that is what makes a resumed run, and a run on another number
    of processes, see the same data.
    """
    ...


class EvalData(Protocol):
  """A finite list of global batches, all of one shape; the last is padded with zero-weight rows."""

  def __len__(self) -> int: ...

  def batches(self, rows: slice | np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Rows `rows` of every global batch, in order."""
    ...
