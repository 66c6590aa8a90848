"""Updates of the rows of a table that a batch looks up, and of no others.

The gradient of a table is zero but for those rows, and row-wise Adagrad leaves a row without a gradient as it is. So
the rows are taken out, differentiated, updated as if they were the table, and put back: a step costs what a batch looks
up, not what the table holds. As in TorchRec's fused optimisers (Mudigere et al. 2022, arXiv:2104.05158, section 4.1.4).

Names: n ids of a batch, N rows of a table, D its width.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mlsd_jax.training.sharding import path_string
from mlsd_jax.training.task import Batch, Task

_WORTH = 4  # a table of fewer rows an id is quicker updated as a whole


def find_distinct(task: Task, params: Any, batch: Batch) -> dict[str, jax.Array]:
  """The rows that a batch looks up, by the path of their table, where the table is so large that they are few: [n]
  ascending, each once, then ids past the table."""
  sizes = {path_string(path): len(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params) if leaf.ndim}
  found = task.lookups(batch) if task.lookups else {}
  assert not any(other.endswith('/' + path) for other in sizes for path in found), 'a path must name one table'
  return {path: _distinct(ids, sizes[path]) for path, ids in found.items() if sizes[path] > _WORTH * len(ids)}


def find_places(distinct: jax.Array, ids: jax.Array) -> jax.Array:
  """Where each of `ids`, which are some of those that were looked up, stands among the distinct ones."""
  # Searched for, as a device or a microbatch has a part of the ids alone.
  return jnp.searchsorted(distinct, ids)


def _distinct(ids: jax.Array, size: int) -> jax.Array:
  # A row that is looked up twice has one gradient, the sum: hence distinct rows, in an array of fixed length, since the
  # program is compiled for shapes. What is left over is filled with ids past the table, each another one.
  distinct = jnp.unique(ids, size=len(ids), fill_value=size)
  return jnp.where(distinct < size, distinct, size + jnp.arange(len(ids)))


def take(tree: Any, at: Mapping[str, jax.Array]) -> Any:
  """`tree` with the rows `at` some paths instead of the arrays there; zeros for ids past them.

  The state of an optimiser is a tree whose paths end in those of the parameters, so the same paths serve it.
  """
  return _at(tree, at, lambda x, ids: x.at[ids].get(mode='fill', fill_value=0))


def put(tree: Any, rows: Any, at: Mapping[str, jax.Array]) -> Any:
  """The inverse of `take` for distinct ids: `rows` with the whole arrays of `tree`, changed in their rows `at`."""
  # Told that ids are sorted and distinct, the compiler writes rows side by side, and it drops those past the table.
  change = lambda x, ids, new: x.at[ids].set(new, mode='drop', unique_indices=True, indices_are_sorted=True)
  return _at(tree, at, change, rows)


def looking_up(task: Task) -> Callable[..., Any]:
  """The task's loss as (params, batch, key, distinct, ...): of whole tables, but of the `distinct` rows where there are
  some at a table's path."""
  lookups = task.lookups
  if lookups is None:
    return lambda params, batch, key, distinct, **options: task.loss(params, batch, key, **options)

  def loss(params, batch, key, distinct, **options):
    at = lookups(batch)
    at |= {path: find_places(rows, at[path]) for path, rows in distinct.items()}
    return task.loss(take(params, at), batch, key, **options)

  return loss


def _at(tree: Any, at: Mapping[str, Any], change: Callable[..., Any], *others: Any) -> Any:
  """`change(leaf, at[path], *leaves of others)` for the leaves at some paths; the others' leaf, if any, elsewhere."""

  def changed(path, leaf, *rest):
    name = path_string(path)
    for wanted, value in at.items():
      if name == wanted or name.endswith('/' + wanted):
        return change(leaf, value, *rest)
    return rest[0] if rest else leaf

  return jax.tree_util.tree_map_with_path(changed, tree, *others)
