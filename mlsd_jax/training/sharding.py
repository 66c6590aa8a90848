"""Where arrays live on a mesh, by rule tables: parameter path -> logical axes -> mesh axes.

    Rules for a GPT block:  ('blocks/.*/attention/qkv/kernel', ('embed', None, 'heads', None))
    One table for all:      embed -> fsdp, heads -> tensor, mlp -> tensor, vocab -> tensor, rows -> all axes

A model knows nothing of this file, and this file nothing of a model.
"""

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mlsd_jax.errors import UserError

type Rules = Sequence[tuple[str, tuple[str | None, ...]]]  # (regular expression on the path, logical axis a dimension)

MESH_AXES = ('data', 'fsdp', 'tensor')
BATCH_AXES = ('data', 'fsdp')  # a batch is split over both
# Rows of embedding tables of which a batch looks up few are split over everything there is, and never gathered.
LOGICAL_TO_MESH: dict[str, str | tuple[str, ...]] = {
  'embed': 'fsdp',
  'heads': 'tensor',
  'mlp': 'tensor',
  'vocab': 'tensor',
  'rows': MESH_AXES,
}
LARGE = 64 * 2**20  # bytes of an array that should not lie whole on every device


def make_mesh(shape: dict[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
  """A (data, fsdp, tensor) mesh with Auto axes. One axis may be -1: what is left of the devices.

  Raises:
    UserError: the axes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = [int(shape.get(axis, 1)) for axis in MESH_AXES]
  wildcards = sizes.count(-1)
  known = math.prod(size for size in sizes if size != -1)
  if wildcards > 1 or known <= 0 or len(devices) % known or (not wildcards and known != len(devices)):
    wanted = ' x '.join(f'{axis}={size}' for axis, size in zip(MESH_AXES, sizes, strict=True))
    raise UserError(f'a mesh of {wanted} does not fit {len(devices)} devices; one axis may be -1 to take what is left')
  sizes = [len(devices) // known if size == -1 else size for size in sizes]
  # Auto: the compiler carries a layout from the parameters on through the model, which then needs no annotations.
  types = (AxisType.Auto,) * len(MESH_AXES)
  try:
    return jax.make_mesh(sizes, MESH_AXES, axis_types=types, devices=devices)
  except NotImplementedError:  # an axis of the mesh is a part of a dimension of a TPU slice
    placed = mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    return Mesh(placed, MESH_AXES, axis_types=types)


def path_string(path: tuple[Any, ...]) -> str:
  """A jax key path as 'blocks/0/mlp/up/kernel'."""
  return '/'.join(str(getattr(part, 'key', getattr(part, 'name', getattr(part, 'idx', part)))) for part in path)


def partition_spec(path: str, shape: Sequence[int], rules: Rules, mesh: Mesh) -> PartitionSpec:
  """The mesh axes of one array: the first rule whose expression is found in the path.

  A rule is matched to the last dimensions, so that it also serves layers stacked under a leading axis. A dimension
  that its mesh axis does not divide is left whole, and so is an array no rule names.
  """
  for pattern, logical in rules:
    if re.search(pattern, path):
      if len(logical) > len(shape):
        continue
      axes: list[str | tuple[str, ...] | None] = [None] * (len(shape) - len(logical))
      axes += [LOGICAL_TO_MESH[name] if name else None for name in logical]
      # Left whole where it does not divide: jit knows no shards of unlike sizes.
      divisible = [a if a and size % _ways(a, mesh) == 0 else None for a, size in zip(axes, shape, strict=True)]
      return PartitionSpec(*divisible)
  return PartitionSpec()


def _ways(axes: str | tuple[str, ...], mesh: Mesh) -> int:
  return math.prod(mesh.shape[axis] for axis in ((axes,) if isinstance(axes, str) else axes))


def find_undivided(tree: Any, rules: Rules, mesh: Mesh, least: int = LARGE) -> list[str]:
  """What a rule would split and the mesh does not divide, of arrays of `least` bytes and more: a line each kind.

  'item_table: 105,543 rows do not divide by fsdp=8, and stay whole on each device'
  """
  lines = []
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name, shape = path_string(path), leaf.shape
    logical = next((axes for pattern, axes in rules if re.search(pattern, name) and len(axes) <= len(shape)), ())
    if math.prod(shape) * leaf.dtype.itemsize < least:
      continue
    for size, axis in zip(shape[len(shape) - len(logical) :], logical, strict=True):
      over = LOGICAL_TO_MESH[axis] if axis else ()
      if size % _ways(over, mesh):
        ways = ' x '.join(f'{a}={mesh.shape[a]}' for a in ((over,) if isinstance(over, str) else over))
        kind = re.sub(r'(?<=/)[0-9]+(?=/)', '*', name)
        lines.append(f'{kind}: {size:,} {axis} do not divide by {ways}, and stay whole on each device')
  return list(dict.fromkeys(lines))


def tree_specs(tree: Any, rules: Rules, mesh: Mesh) -> Any:
  """`partition_spec` for every array of a tree (of arrays or ShapeDtypeStructs).

  Optimiser state is a tree whose paths end in those of the parameters, so the same rules place it.
  """
  spec = lambda path, leaf: partition_spec(path_string(path), leaf.shape, rules, mesh)
  return jax.tree_util.tree_map_with_path(spec, tree)


def tree_shardings(tree: Any, rules: Rules, mesh: Mesh) -> Any:
  """As `tree_specs`, bound to the mesh."""
  return jax.tree.map(lambda spec: NamedSharding(mesh, spec), tree_specs(tree, rules, mesh), is_leaf=_is_spec)


def without_axis(spec: PartitionSpec, axis: str) -> PartitionSpec:
  """`spec` with one mesh axis dropped: the layout after gathering over that axis. Rows of tables, which are split over
  all axes together, stay as they are."""
  return PartitionSpec(*(None if entry == axis else entry for entry in spec))


def of_axis(spec: PartitionSpec, axis: str) -> PartitionSpec:
  """`spec` with one mesh axis alone, where that stands by itself."""
  return PartitionSpec(*(axis if entry == axis else None for entry in spec))


def batch_axes_of(spec: PartitionSpec) -> tuple[int, tuple[str, ...]] | None:
  """(dimension, axes) of an array that is split over axes of the batch; None where those leave it whole."""
  for dimension, entry in enumerate(spec):
    axes = tuple(axis for axis in ((entry,) if isinstance(entry, str) else entry or ()) if axis in BATCH_AXES)
    if axes:
      return dimension, axes
  return None


def of_batch_axes(spec: PartitionSpec, mesh: Mesh) -> PartitionSpec:
  """`spec` with the axes of the batch alone; () where there is one device along them, and nothing to be gathered."""
  found = batch_axes_of(spec)
  if found and _ways(found[1], mesh) == 1:
    return PartitionSpec()
  return PartitionSpec(*[found[1] if found and i == found[0] else None for i in range(len(spec))])


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh, *, leading: int = 0) -> NamedSharding:
  """The batch axis over data and fsdp, behind `leading` axes (stacked steps) that stay whole."""
  return NamedSharding(mesh, PartitionSpec(*[None] * leading, BATCH_AXES))


def check_batch_size(batch_size: int, accumulation: int, mesh: Mesh) -> None:
  """Raises UserError unless every microbatch splits evenly over the mesh."""
  ways = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
  if accumulation < 1 or batch_size < 1 or batch_size % (accumulation * ways):
    raise UserError(
      f'batch_size {batch_size} is not divisible by {accumulation} accumulation steps x {ways} ways of the mesh '
      f'(data={mesh.shape["data"]} x fsdp={mesh.shape["fsdp"]})'
    )


def process_rows(batch_size: int, mesh: Mesh) -> slice | np.ndarray:
  """Which rows of a global batch this process must load: those that its devices hold, in order.

  Where the mesh goes to and fro between processes, as over the chips of a TPU slice, they do not lie together: then
  their numbers, int64 [n].
  """
  indices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
  return _in_order({index[0].indices(batch_size)[:2] for index in indices if index})


def _in_order(parts: set[tuple[int, int]]) -> slice | np.ndarray:
  """Rows of parts [start, stop): a slice where they lie together."""
  ordered = sorted(parts)
  if all(before[1] == after[0] for before, after in itertools.pairwise(ordered)):
    return slice(ordered[0][0], ordered[-1][1])
  return np.concatenate([np.arange(*part) for part in ordered])


def place_batch(batch: dict[str, np.ndarray], mesh: Mesh, *, leading: int = 0) -> dict[str, jax.Array]:
  """This process's rows of a batch -> global arrays split over the mesh."""
  # From each process's own rows: no host ever holds, or sends to another, the whole batch.
  sharding = batch_sharding(mesh, leading=leading)
  return {name: jax.make_array_from_process_local_data(sharding, value) for name, value in batch.items()}


def gather_to_host(tree: Any) -> Any:
  """Global arrays as whole ones on this process's first device. All processes call it."""
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    tree = multihost_utils.process_allgather(tree, tiled=True)
  return jax.device_put(jax.device_get(tree), jax.local_devices()[0])


def _is_spec(leaf: Any) -> bool:
  return isinstance(leaf, PartitionSpec)
