"""A GPT out of a workdir of ours or a Hugging Face folder."""

import dataclasses
import pathlib
from typing import Any

import jax
from jax.sharding import Mesh

from mlsd_jax.errors import UserError
from mlsd_jax.language_model import huggingface
from mlsd_jax.language_model.task import GPT_RULES
from mlsd_jax.models import gpt
from mlsd_jax.training import sharding
from mlsd_jax.training.checkpoint import Checkpoints


def metadata(config: gpt.GPTConfig) -> dict[str, Any]:
  """What a run writes beside its checkpoints, so that the model can be rebuilt from them alone."""
  return {'model': 'gpt', 'config': dataclasses.asdict(config)}


def load(spec: str, mesh: Mesh | None = None) -> tuple[Any, gpt.GPTConfig]:
  """Parameters and config of 'hf:FOLDER_OR_NAME' or of a workdir.

  Args:
    mesh: where the parameters are placed, by GPT_RULES; the first device by default.

  Raises:
    UserError: nothing there, or not a GPT.
  """
  if spec.startswith('hf:'):
    return huggingface.load_gpt2(spec.removeprefix('hf:'))
  return load_run(pathlib.Path(spec), mesh)


def load_run(workdir: pathlib.Path, mesh: Mesh | None = None) -> tuple[Any, gpt.GPTConfig]:
  """Parameters and config of the best evaluation if the run kept that, else of its last good checkpoint.

  Raises:
    UserError: the workdir holds no whole checkpoint of a GPT.
  """
  for folder in ('best', 'checkpoints'):
    if not (workdir / folder).is_dir():
      continue
    with Checkpoints(workdir / folder) as checkpoints:
      step = checkpoints.latest_good()
      if step is None:
        continue
      found = checkpoints.metadata(step)
      if found.get('model') != 'gpt':
        raise UserError(f'{workdir} holds checkpoints of another kind of model ({found.get("model")})')
      config = gpt.GPTConfig(**found['config'])
      return checkpoints.restore_params(step, _abstract(config, mesh)), config
  raise UserError(f'{workdir} holds no whole checkpoint; train there first, or name another --workdir')


def save(workdir: pathlib.Path, params: Any, config: gpt.GPTConfig) -> None:
  """Writes parameters as the only checkpoint of a workdir.

  Raises:
    UserError: no space.
  """
  with Checkpoints(workdir / 'checkpoints', metadata=metadata(config)) as checkpoints:
    checkpoints.save(0, {'params': jax.tree.map(jax.numpy.asarray, params)})


def _abstract(config: gpt.GPTConfig, mesh: Mesh | None) -> Any:
  shapes = jax.eval_shape(lambda key: gpt.init(key, config), jax.random.key(0))
  mesh = sharding.make_mesh({}, jax.devices()[:1]) if mesh is None else mesh
  place = lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
  return jax.tree.map(place, shapes, sharding.tree_shardings(shapes, GPT_RULES, mesh))


def fit_context(params: Any, config: gpt.GPTConfig, context_length: int) -> tuple[Any, gpt.GPTConfig]:
  """Drops the last positions, so that a pretrained model trains on shorter windows.

  Raises:
    UserError: more positions are wanted than there are.
  """
  if context_length > config.context_length:
    raise UserError(
      f'model.context_length={context_length} is longer than the {config.context_length} positions of the checkpoint'
    )
  params = params | {'position_embedding': params['position_embedding'][:context_length]}
  return params, dataclasses.replace(config, context_length=context_length)
