"""Encoders trained through `fit`: on raw text, on (query, passage) pairs, on ranked lists.

pairs = [Pair('copy a file', 'shutil.copy2(src, dst) ...'), ...]
tuned, result = train_contrastive(load_encoder(), pairs, ContrastiveConfig(train=TrainConfig(...)), workdir)
tuned.save(folder)
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Annotated, Literal

import jax
import numpy as np

from mlsd_jax.data.batches import Arrange, Batch, padded, shuffled
from mlsd_jax.encoder import examples as encoder_data
from mlsd_jax.encoder.encoder import CrossEncoder, Encoder
from mlsd_jax.encoder.examples import Pair, Ranked
from mlsd_jax.encoder.length_batches import EncoderTokenizer
from mlsd_jax.encoder.model_folder import Loaded
from mlsd_jax.encoder.tasks import contrastive_task, cross_encoder_task, masked_lm_task
from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.models.bert_config import EncoderConfig
from mlsd_jax.schema import Dropout, Positive, at_least
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import Result, fit
from mlsd_jax.training.step import refuse_microbatches
from mlsd_jax.training.task import Task


@dataclasses.dataclass(frozen=True)
class MaskedLMConfig:
  train: TrainConfig
  length: Annotated[int, at_least(3)] = 128
  dropout: Dropout = 0.1


@dataclasses.dataclass(frozen=True)
class ContrastiveConfig:
  train: TrainConfig
  temperature: float = 0.05
  query_length: Annotated[int, at_least(3)] = 32
  passage_length: Annotated[int, at_least(3)] = 128
  chunks: Positive = (
    1  # parts in which a batch is encoded; see contrastive_task. accumulation would mean fewer negatives
  )
  dropout: Dropout = 0.0

  def __post_init__(self):
    if not self.temperature > 0.0:
      raise UserError(f'temperature={self.temperature} must be above 0')
    if self.train.batch_size % self.chunks:
      raise UserError(f'chunks={self.chunks} do not divide batch_size={self.train.batch_size}')
    refuse_microbatches(self.train.accumulation)


@dataclasses.dataclass(frozen=True)
class CrossEncoderConfig:
  train: TrainConfig
  length: Annotated[int, at_least(5)] = 160
  loss: Literal['listwise', 'binary', 'distil'] = 'listwise'
  dropout: Dropout = 0.0


type Settings = MaskedLMConfig | ContrastiveConfig | CrossEncoderConfig


def check_lengths(config: Settings, model: Loaded, section: str = '') -> None:
  """Raises UserError where the texts to train on may be longer than the positions of the model.

  Args:
    section: what stands before the name of a setting, 'config.masked_lm.'.
  """
  for name in ('length', 'query_length', 'passage_length'):
    length = getattr(config, name, 0)
    if length > model.config.context_length:
      raise UserError(
        f'{section}{name}={length} is longer than the {model.config.context_length} positions of {model.name}'
      )


def heads_of(settings: Settings, model: EncoderConfig) -> tuple[str, ...]:
  """The heads that a model has while it is trained so."""
  if isinstance(settings, MaskedLMConfig):
    return ('mlm',)
  return ('pooler', 'score') if isinstance(settings, CrossEncoderConfig) else tuple({'pooler'} & {*model.heads})


def make_task(model: EncoderConfig, pooling: str, settings: Settings, passages: int) -> Task:
  """What a model is trained for.

  Args:
    model: with its heads.
    passages: of a query, the right one included; no matter to masked words.
  """
  size = settings.train.batch_size
  if isinstance(settings, MaskedLMConfig):
    return masked_lm_task(model, batch_size=size, length=settings.length)
  if isinstance(settings, CrossEncoderConfig):
    options = dict(length=settings.length, loss=settings.loss)
    return cross_encoder_task(model, batch_size=size, passages=passages, **options)  # type: ignore[arg-type]
  return contrastive_task(
    model,
    batch_size=size,
    passages=passages,
    length=settings.query_length + passages * settings.passage_length,
    pooling=pooling,
    temperature=settings.temperature,
    chunks=settings.chunks,
  )


def batch_shapes(config: Settings, passages: int) -> dict[str, jax.ShapeDtypeStruct]:
  """Arrays of a batch of the task that `make_task` makes, as examples.py fills them."""
  size = config.train.batch_size
  integers = lambda *shape: jax.ShapeDtypeStruct((size, *shape), np.int32)
  floats = lambda *shape: jax.ShapeDtypeStruct((size, *shape), np.float32)
  if isinstance(config, MaskedLMConfig):
    asked = max(round(encoder_data.MASKED_SHARE * config.length), 1)
    found = {'positions': integers(asked), 'targets': integers(asked), 'weights': floats(asked)}
    return {'tokens': integers(config.length), **found}
  if isinstance(config, CrossEncoderConfig):
    pairs = {'pairs': integers(passages, config.length), 'firsts': integers(passages)}
    return {**pairs, 'targets': floats(passages), 'weights': floats()}
  texts = {'queries': integers(config.query_length), 'passages': integers(passages, config.passage_length)}
  return {**texts, 'passage_ids': integers(passages), 'weights': floats()}


def fresh_encoder(name: str, config: bert.BertConfig, tokenizer: EncoderTokenizer, *, seed: int = 0) -> Encoder:
  """An untrained encoder of `config`, with mean pooling and no prefixes."""
  params = jax.device_get(jax.jit(bert.init, static_argnums=1)(jax.random.key(seed), config))
  return Encoder(Loaded(name, params, config, tokenizer, 'mean', config.context_length, '', ''))


def pretrain_mlm(
  encoder: Encoder, texts: Sequence[str], config: MaskedLMConfig, workdir: pathlib.Path, held_out: Sequence[str] = ()
) -> tuple[Encoder, Result]:
  """Goes on with, or begins, an encoder's pretraining by masked words. The head for them is kept in the result."""
  check_lengths(config, encoder.model)
  model = _with_heads(encoder.model, heads_of(config, encoder.model.config), config.dropout, config.train.seed)
  task = make_task(model.config, model.pooling, config, 0)
  arrays = lambda some: encoder_data.text_arrays(some, model.tokenizer, length=config.length)
  mask = encoder_data.masker(model.tokenizer)
  trained, result = _fit(
    task, model, arrays(texts), arrays(held_out) if held_out else None, config.train, workdir, mask
  )
  return Encoder(trained, encoder.dtype, encoder.batch_tokens), result


def train_contrastive(
  encoder: Encoder,
  pairs: Sequence[Pair],
  config: ContrastiveConfig,
  workdir: pathlib.Path,
  held_out: Sequence[Pair] = (),
) -> tuple[Encoder, Result]:
  """Adapts an encoder so that queries come near their passages; every pair must have as many negatives.

  Raises:
    UserError: no pairs, uneven negatives, or what `fit` raises.
  """
  model = encoder.model
  check_lengths(config, model)
  model = _with_heads(model, heads_of(config, model.config), config.dropout, 0)
  arrays = lambda some: encoder_data.pair_arrays(
    some,
    model.tokenizer,
    query_prefix=model.query_prefix,
    passage_prefix=model.passage_prefix,
    query_length=config.query_length,
    passage_length=config.passage_length,
  )
  data = arrays(pairs)
  passages = data['passages'].shape[1]
  task = make_task(model.config, model.pooling, config, passages)
  trained, result = _fit(task, model, data, arrays(held_out) if held_out else None, config.train, workdir)
  return Encoder(trained, encoder.dtype, encoder.batch_tokens), result


def train_cross_encoder(
  encoder: Encoder | CrossEncoder,
  lists: Sequence[Ranked],
  config: CrossEncoderConfig,
  workdir: pathlib.Path,
  held_out: Sequence[Ranked] = (),
) -> tuple[CrossEncoder, Result]:
  """A scorer of (query, passage) from an encoder's weights and a fresh head, or from a cross-encoder's.

  Raises:
    UserError: no lists, uneven ones, or what `fit` raises.
  """
  check_lengths(config, encoder.model)
  model = _with_heads(encoder.model, heads_of(config, encoder.model.config), config.dropout, config.train.seed)
  model = dataclasses.replace(model, query_prefix='', passage_prefix='', max_length=max(config.length, 3))
  arrays = lambda some: encoder_data.ranked_arrays(some, model.tokenizer, length=config.length)
  data = arrays(lists)
  task = make_task(model.config, model.pooling, config, data['pairs'].shape[1])
  trained, result = _fit(task, model, data, arrays(held_out) if held_out else None, config.train, workdir)
  return CrossEncoder(trained, encoder.dtype, encoder.batch_tokens), result


def _with_heads(model: Loaded, heads: tuple[str, ...], dropout: float, seed: int) -> Loaded:
  params, config = bert.with_heads(model.params, model.config, heads, jax.random.key(seed))
  return dataclasses.replace(model, params=params, config=dataclasses.replace(config, dropout=dropout))


def _fit(
  task: Task,
  model: Loaded,
  data: Batch,
  held_out: Batch | None,
  train: TrainConfig,
  workdir: pathlib.Path,
  arrange: Arrange | None = None,
) -> tuple[Loaded, Result]:
  examples = shuffled(data, train.batch_size, train.seed, arrange)
  watched = None if held_out is None else padded(held_out, train.batch_size, arrange)
  metadata = {'model': 'bert', 'config': dataclasses.asdict(model.config)}
  result = fit(task, examples, watched, train, workdir, init_params=model.params, metadata=metadata)
  params = jax.tree.map(np.asarray, jax.device_get(result.params))
  return dataclasses.replace(model, params=params, config=dataclasses.replace(model.config, dropout=0.0)), result
