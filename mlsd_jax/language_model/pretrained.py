"""A GPT out of a workdir of ours or a Hugging Face folder."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from mlsd_jax.data import hub
from mlsd_jax.errors import UserError
from mlsd_jax.generation.generate import generate
from mlsd_jax.language_model import chat_template, gpt2_folder, modern_folder
from mlsd_jax.language_model.chat_template import ChatTemplate
from mlsd_jax.language_model.task import sharding_rules
from mlsd_jax.language_model.text import run_tokenizer
from mlsd_jax.models import gpt
from mlsd_jax.models.families import KINDS, DecoderConfig, functions_of, kind_of, read_config
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import sharding
from mlsd_jax.training.checkpoint import Checkpoints, origin


def metadata(config: DecoderConfig) -> dict[str, Any]:
  """What a run writes beside its checkpoints, so that the model can be rebuilt from them alone."""
  return {'model': kind_of(config), 'config': dataclasses.asdict(config)}


def load(spec: str, *, tokenizer: str = '', **options: Any) -> tuple[Any, DecoderConfig, Tokenizer]:
  """Parameters, config and tokenizer of 'hf:FOLDER_OR_NAME' or of a workdir of ours.

  Args:
    tokenizer: the name or file of the tokenizer of a Hugging Face folder that has none.
    options: fields of the config that are a choice and not of the file (dropout, attention, scan_layers, ...); the
      parameters are laid out for them. A shorter context_length keeps the first positions.

  Raises:
    UserError: nothing there, not a decoder that is read here, or an option that the parameters cannot meet.
  """
  if spec.startswith('hf:'):
    folder = hub.model_folder(spec.removeprefix('hf:'), gpt2_folder.BESIDES)
    loader = modern_folder.load_modern if modern_folder.is_modern(folder) else gpt2_folder.load_gpt2
    params, loaded = loader(folder, **options)
    return params, loaded, gpt2_folder.load_tokenizer(folder, loaded, tokenizer)
  if tokenizer:
    raise UserError(f'{spec} has its own tokenizer: leave {tokenizer!r} out')
  params, config, _ = load_run(pathlib.Path(spec))
  own = run_tokenizer(pathlib.Path(spec))
  return *lay_out(params, config, **options), own


def chat_template_of(spec: str) -> ChatTemplate | None:
  """The template that comes with what `load` loads, if one does."""
  if spec.startswith('hf:'):
    return chat_template.load(hub.model_folder(spec.removeprefix('hf:'), gpt2_folder.BESIDES))
  return chat_template.load_of_run(pathlib.Path(spec))


def lay_out(params: Any, config: DecoderConfig, **options: Any) -> tuple[Any, DecoderConfig]:
  """The same model with other options, see `load`."""
  convert: Any = gpt2_folder.convert if isinstance(config, gpt.GPTConfig) else modern_folder.convert
  return convert(params, config, dataclasses.replace(config, **options))


class LoadedRun(NamedTuple):
  """A model out of a workdir.

  Attributes:
    origin: checkpoint_step, and damaged_checkpoints where newer or better ones could not be used.
  """

  params: Any
  config: DecoderConfig
  origin: dict[str, Any]


def load_run(workdir: pathlib.Path, mesh: Mesh | None = None) -> LoadedRun:
  """The parameters of the best evaluation if the run kept that, else of its last good checkpoint.

  Raises:
    UserError: the workdir holds no whole checkpoint of a GPT.
  """
  damaged: list[str] = []
  for folder in ('best', 'checkpoints'):
    if not (workdir / folder).is_dir():
      continue
    with Checkpoints(workdir / folder) as checkpoints:
      step = checkpoints.latest_good()
      damaged += checkpoints.damaged()
      if step is None:
        continue
      found = checkpoints.metadata(step)
      if found.get('model') not in KINDS:
        raise UserError(f'{workdir} holds checkpoints of another kind of model ({found.get("model")})')
      fields = dict(found['config'])
      fields.pop('sublayers', None)  # always 'both'; written while MiniGPT's partial blocks were an option of GPT-2
      config = read_config({'kind': found['model'], **fields}, 'model')
      return LoadedRun(checkpoints.restore_params(step, _abstract(config, mesh)), config, origin(step, damaged))
  raise UserError(f'{workdir} holds no whole checkpoint; train there first, or name another --workdir')


def writer(spec: str, *, max_new_tokens: int = 64) -> Callable[[str], str]:
  """A GPT, as `load` takes it, as a function from a prompt to the line that it goes on with.

  Raises:
    UserError: as `load`.
  """
  params, model, tokenizer = load(spec)

  def write(prompt: str) -> str:
    return generate(params, model, tokenizer, [prompt], max_new_tokens=max_new_tokens, stop=('\n',))[0].text

  return write


def save(workdir: pathlib.Path, params: Any, config: DecoderConfig) -> None:
  """Writes parameters as the only checkpoint of a workdir.

  Raises:
    UserError: no space.
  """
  with Checkpoints(workdir / 'checkpoints', metadata=metadata(config)) as checkpoints:
    checkpoints.save(0, {'params': jax.tree.map(jax.numpy.asarray, params)})


def _abstract(config: DecoderConfig, mesh: Mesh | None) -> Any:
  shapes = jax.eval_shape(lambda key: functions_of(config).init(key, config), jax.random.key(0))
  mesh = sharding.make_mesh({}, jax.devices()[:1]) if mesh is None else mesh
  place = lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
  return jax.tree.map(place, shapes, sharding.tree_shardings(shapes, sharding_rules(config), mesh))
