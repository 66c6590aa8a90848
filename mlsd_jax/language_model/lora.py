"""LoRA: of each matrix W stays what it was, and W + (alpha / r) A B is learnt by its two narrow factors alone.

Hu et al. 2021 (arXiv:2106.09685). The factors of a matrix of I inputs and O outputs are A [I, r] and B [r, O]:
r (I + O) numbers are trained, with a gradient and optimiser state each, in the place of I O. B begins at 0, and the
model as the one it starts from. The trainer knows the rest as `Task.frozen` (training/task.py); a checkpoint holds the
factors alone.

The product is added to the matrix in float32, and the sum cast for the pass: what a full fine-tuning computes with.
"""

import dataclasses
import functools
import hashlib
import math
import re
from typing import Any

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.language_model.lora_config import LoraConfig
from mlsd_jax.training.config import OptimizerConfig
from mlsd_jax.training.task import Task


def check(config: LoraConfig, optimizer: OptimizerConfig, starts_from: str) -> None:
  """Raises UserError for what LoRA cannot be trained with."""
  if not config.rank:
    return
  if not starts_from:
    raise UserError(f'config.lora.rank={config.rank} adds to a trained model: name it with --init_from')
  if optimizer.name == 'muon':
    raise UserError('optimizer.name=muon makes steps of whole matrices orthogonal; the factors of LoRA go with adamw')


def targets(params: Any, config: LoraConfig) -> dict[str, tuple[int, int, int]]:
  """(stacked layers or 0, I, O) of the matrices that have factors, by path.

  Raises:
    UserError: the model has no matrix of a name.
  """
  flat = {'/'.join(path): leaf.shape for path, leaf in flax.traverse_util.flatten_dict(params).items()}
  name_of = lambda path: path.split('/')[-2] if path.endswith('/kernel') else path.split('/')[-1]
  matrices = {path: shape for path, shape in flat.items() if len(shape) > 1 and not path.endswith(('bias', 'scale'))}
  known = {name_of(path) for path in matrices}
  unknown = [name for name in config.matrices if name not in known]
  if unknown:
    raise UserError(f'config.lora.matrices names {unknown[0]!r}; the model has {", ".join(sorted(known))}')
  chosen = {
    path: shape
    for path, shape in matrices.items()
    if (name_of(path) in config.matrices if config.matrices else path.endswith('/kernel'))
  }
  return {path: _fan(path, shape) for path, shape in sorted(chosen.items())}


def idle_rank(params: Any, config: LoraConfig) -> str | None:
  """A line where the factors are wider than some of their matrices, whose rank is at most the smaller of I and O.

  Raises:
    UserError: they are wider than all of them.
  """
  ranks = {path: min(fan_in, fan_out) for path, (_, fan_in, fan_out) in targets(params, config).items()}
  narrow = [rank for rank in ranks.values() if rank < config.rank]
  if not narrow:
    return None
  if len(narrow) == len(ranks):
    raise UserError(
      f'config.lora.rank={config.rank} is more than the rank of any matrix here; up to {max(narrow)} is of use, and '
      '0 trains the matrices themselves'
    )
  return (
    f'lora.rank={config.rank} is more than {len(narrow)} of the {len(ranks)} matrices can have ({min(narrow)} the '
    'smallest): wider factors of these train nothing more'
  )


def _fan(path: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
  layers = shape[0] if re.search(r'blocks/(?!\d+/)', path) else 0
  own = shape[1:] if layers else shape
  inputs = 2 if path.endswith('out/kernel') and len(own) == 3 else 1  # heads come in
  return layers, math.prod(own[:inputs]), math.prod(own[inputs:])


def init(key: jax.Array, base: Any, config: LoraConfig) -> dict[str, Any]:
  """Fresh factors {path: {'a', 'b'}}, nested as `base`: A uniform within 1 / sqrt(I) as peft draws it, B zero."""
  factors = {}
  for i, (path, (layers, fan_in, fan_out)) in enumerate(targets(base, config).items()):
    lead = (layers,) if layers else ()
    bound = 1 / math.sqrt(fan_in)
    a = jax.random.uniform(jax.random.fold_in(key, i), (*lead, fan_in, config.rank), minval=-bound, maxval=bound)
    factors[tuple(path.split('/'))] = {'a': a, 'b': jnp.zeros((*lead, config.rank, fan_out))}
  return flax.traverse_util.unflatten_dict(factors)


def join(factors: Any, base: Any, config: LoraConfig) -> Any:
  """The whole model: `base` with the products of `factors` added, in its own dtypes.

  Raises:
    UserError: the factors are of another model: a matrix is not there, or is of another size.
  """
  flat = flax.traverse_util.flatten_dict(base)
  found: dict[tuple[str, ...], dict[str, Any]] = {}
  for path, leaf in flax.traverse_util.flatten_dict(factors).items():
    found.setdefault(path[:-1], {})[path[-1]] = leaf
  for path, pair in found.items():
    name = '/'.join(path)
    if path not in flat:
      raise UserError(f'the LoRA is of another model: this one has no {name}')
    matrix = flat[path]
    _, fan_in, fan_out = _fan(name, matrix.shape)
    if pair['a'].shape[-2] != fan_in or pair['b'].shape[-1] != fan_out:
      raise UserError(
        f"the LoRA is of another model: its {name} is {pair['a'].shape[-2]} x {pair['b'].shape[-1]}, this one's "
        f'{fan_in} x {fan_out}'
      )
    product = jnp.einsum('...ir,...ro->...io', pair['a'], pair['b'], precision='highest') * config.scale
    flat[path] = matrix + product.reshape(matrix.shape).astype(matrix.dtype)
  return flax.traverse_util.unflatten_dict(flat)


def lora_task(task: Task, base: Any, config: LoraConfig) -> Task:
  """`task` with the factors as its parameters, and `base` frozen."""
  return dataclasses.replace(
    task,
    init=lambda key: init(key, base, config),
    frozen=base,
    join=functools.partial(join, config=config),
    probe=None,  # which would train all of the model
  )


def fingerprint(params: Any) -> str:
  """SHA-256 of the names, shapes and float32 values of a model, by which a LoRA knows its own."""
  digest = hashlib.sha256()
  for path, leaf in sorted(flax.traverse_util.flatten_dict(params, sep='/').items()):
    array = np.ascontiguousarray(np.asarray(leaf, np.float32))
    digest.update(f'{path} {array.shape} '.encode())
    digest.update(array.data)
  return digest.hexdigest()
