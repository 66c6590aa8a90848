"""A GPT out of a workdir of ours or a Hugging Face folder."""

import dataclasses
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from mlsd_jax.data import hub
from mlsd_jax.errors import UserError
from mlsd_jax.generation.generate import generate
from mlsd_jax.generation.sampling import GREEDY
from mlsd_jax.language_model import chat_template, gpt2_folder, lora, modern_folder, vocabulary
from mlsd_jax.language_model.chat import Speaker
from mlsd_jax.language_model.chat_template import ChatTemplate
from mlsd_jax.language_model.lora_config import LoraConfig
from mlsd_jax.language_model.task import sharding_rules
from mlsd_jax.language_model.text import run_tokenizer
from mlsd_jax.models import gpt
from mlsd_jax.models.families import KINDS, DecoderConfig, functions_of, kind_of, read_config
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import sharding
from mlsd_jax.training.checkpoint import Checkpoints, origin


@dataclasses.dataclass(frozen=True)
class Base:
  """What a LoRA adds to: where it lies, as `load` takes it, and how to know it again.

  Attributes:
    words: tokens that its vocabulary was given besides.
    fingerprint: of its parameters as they were loaded, see lora.fingerprint.
  """

  spec: str
  tokenizer: str
  words: tuple[str, ...]
  fingerprint: str

  @classmethod
  def of(cls, params: Any, spec: str, tokenizer: str = '', words: Sequence[str] = ()) -> 'Base':
    kind, name = ('hf:', spec.removeprefix('hf:')) if spec.startswith('hf:') else ('', spec)
    path = pathlib.Path(name)
    return cls(f'{kind}{path.resolve() if path.exists() else name}', tokenizer, tuple(words), lora.fingerprint(params))

  def load(self, config: DecoderConfig) -> Any:
    """Its parameters, laid out for `config`.

    Raises:
      UserError: there is another model now, or none.
    """
    params, model, tokenizer = load(self.spec, tokenizer=self.tokenizer)
    if lora.fingerprint(params) != self.fingerprint:
      raise UserError(f'{self.spec} is not the model that the LoRA was trained on: its parameters are others')
    params, model, _ = vocabulary.add_tokens(params, model, tokenizer, self.words)
    chosen = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return lay_out(params, model, **chosen)[0]


def metadata(config: DecoderConfig, factors: LoraConfig | None = None, base: Base | None = None) -> dict[str, Any]:
  """What a run writes beside its checkpoints, so that the model can be rebuilt from them alone, or from the factors of
  a LoRA and the model that they add to."""
  found = {'model': kind_of(config), 'config': dataclasses.asdict(config)}
  if factors is None or base is None:
    return found
  return found | {'lora': dataclasses.asdict(factors), 'base': dataclasses.asdict(base)}


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
  """The parameters of the best evaluation if the run kept that, else of its last good checkpoint; of a LoRA, merged.

  Raises:
    UserError: the workdir holds no whole checkpoint of a GPT, or a LoRA whose own model is no longer there.
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
      if 'base' in found:
        base = Base(**found['base'] | {'words': tuple(found['base']['words'])})
        factors = LoraConfig(**found['lora'] | {'matrices': tuple(found['lora']['matrices'])})
        params = _merged(checkpoints, step, base.load(config), factors, config, mesh)
      else:
        params = checkpoints.restore_params(step, _abstract(config, mesh))
      return LoadedRun(params, config, origin(step, damaged))
  raise UserError(f'{workdir} holds no whole checkpoint; train there first, or name another --workdir')


@dataclasses.dataclass(frozen=True)
class Writer:
  """A GPT as a function of a prompt: the line that it goes on with.

  One with a chat template is given the prompt as a message, and what it says may have several lines.
  """

  params: Any
  model: DecoderConfig
  tokenizer: Tokenizer
  template: ChatTemplate | None
  max_new_tokens: int = 64

  def line(self, prompt: str) -> str:
    """The first line of what it says."""
    return self(prompt).strip().partition('\n')[0]

  def __call__(self, prompt: str, on_text: Callable[[str], None] | None = None) -> str:
    """All that it says; `on_text` is called with each piece as it is settled."""
    told = None if on_text is None else (lambda _, piece: on_text(piece))
    if self.template is not None:
      speaker = Speaker(
        self.params, self.model, self.tokenizer, self.template, GREEDY, max_new_tokens=4 * self.max_new_tokens
      )
      return speaker.say([[{'role': 'user', 'content': prompt}]], on_text=told)[0]
    options: dict[str, Any] = {'max_new_tokens': self.max_new_tokens, 'stop': ('\n',), 'on_text': told}
    return generate(self.params, self.model, self.tokenizer, [prompt], **options)[0].text


def writer(spec: str, *, max_new_tokens: int = 64) -> Writer:
  """A GPT, as `load` takes it, with the chat template that comes with it.

  Raises:
    UserError: as `load`.
  """
  return Writer(*load(spec), chat_template_of(spec), max_new_tokens)


def save(workdir: pathlib.Path, params: Any, config: DecoderConfig) -> None:
  """Writes parameters as the only checkpoint of a workdir.

  Raises:
    UserError: no space.
  """
  with Checkpoints(workdir / 'checkpoints', metadata=metadata(config)) as checkpoints:
    checkpoints.save(0, {'params': jax.tree.map(jax.numpy.asarray, params)})


def _merged(
  checkpoints: Checkpoints, step: int, base: Any, factors: LoraConfig, config: DecoderConfig, mesh: Mesh | None
) -> Any:
  shapes = jax.eval_shape(lambda key: lora.init(key, base, factors), jax.random.key(0))
  whole = sharding.make_mesh({}, jax.devices()[:1]) if mesh is None else mesh
  place = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding.replicated(whole))
  trained = checkpoints.restore_params(step, jax.tree.map(place, shapes))
  shardings = jax.tree.map(lambda leaf: leaf.sharding, _abstract(config, mesh))
  return jax.jit(lambda trained, base: lora.join(trained, base, factors), out_shardings=shardings)(trained, base)


def _abstract(config: DecoderConfig, mesh: Mesh | None) -> Any:
  shapes = jax.eval_shape(lambda key: functions_of(config).init(key, config), jax.random.key(0))
  mesh = sharding.make_mesh({}, jax.devices()[:1]) if mesh is None else mesh
  place = lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where)
  return jax.tree.map(place, shapes, sharding.tree_shardings(shapes, sharding_rules(config), mesh))
