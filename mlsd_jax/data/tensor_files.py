"""Named tensors of a model folder: model.safetensors, or its shards and their index; trees of them by path."""

import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from mlsd_jax.data import hub
from mlsd_jax.errors import UserError


def read(folder: pathlib.Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, np.ndarray]]:
  """Name and tensor of all in `folder` that are `wanted` by name.

  Raises:
    UserError: a file is missing or damaged.
  """
  import safetensors

  sharded = not (folder / hub.WEIGHTS).exists() and (folder / hub.INDEX).exists()
  for file in hub.shards(folder / hub.INDEX) if sharded else [hub.WEIGHTS]:
    path = folder / file
    if not path.exists():
      hub.refuse_pickled(folder)
      raise UserError(f'no such file: {path}')
    try:
      with safetensors.safe_open(path, framework='numpy') as opened:
        for name in opened.keys():  # noqa: SIM118 (not a dict)
          if wanted(name):
            yield name, opened.get_tensor(name)
    except safetensors.SafetensorError as error:
      raise UserError(f'{path} is damaged or no safetensors file: {error}') from error


def write(tensors: Mapping[str, np.ndarray], path: pathlib.Path) -> None:
  """Writes a safetensors file as torch's users expect it.

  Raises:
    UserError: no space.
  """
  import safetensors.numpy

  try:
    safetensors.numpy.save_file(dict(tensors), path, metadata={'format': 'pt'})
  except safetensors.SafetensorError as error:  # how it reports a full disk
    raise UserError(f'cannot write {path}: {error}') from error


def at(tree: Any, path: str) -> Any:
  """What stands in a nested dictionary under 'a/b/c'."""
  for part in path.split('/'):
    tree = tree[part]
  return tree


def put(tree: dict[str, Any], path: str, value: Any) -> None:
  """Puts a value into a nested dictionary under 'a/b/c', which need not be there yet."""
  *parts, last = path.split('/')
  for part in parts:
    tree = tree.setdefault(part, {})
  tree[last] = value
