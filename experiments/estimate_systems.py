"""From the config of a system, flags and hardware to its estimate: what each system reads, and from where."""

import dataclasses
import pathlib
import types
from collections.abc import Mapping
from typing import Annotated, Any

from experiments import contract, sections
from experiments.estimate_compiled import beside, compiled
from experiments.estimate_language import (
  estimate_gpt,
  estimate_makemore,
  estimate_mingpt,
  gpt_plan,
)
from experiments.estimate_settings import Setting, System
from mlsd_jax.errors import UserError
from mlsd_jax.estimates import judge, recommender, retrieval, tokenizer, training, transformer
from mlsd_jax.estimates.hardware import Hardware
from mlsd_jax.estimates.table import Group
from mlsd_jax.schema import Positive, at_least, from_mapping

_VOCAB = Setting('', 'count', 'tokens of the vocabulary, where data.tokenizer does not say it')
_MFU = Setting('40%', 'share', 'share of the peak that products reach')
SHOPS = {'hm': (1_371_980, 105_542), 'completejourney': (2_469, 92_331)}  # users and items
LEVELS = {'hm': 4, 'completejourney': 4, 'synthetic': 2}  # columns that describe an item
# Parts of encoders' names that say their published size (models/bert_config.py).
ENCODERS = {
  'minilm-l6': 'minilm-l6',
  'e5-small': 'e5-small',
  'bge-small': 'e5-small',
  '-base': 'base',
  '-large': 'large',
}


# encoder, retrieval


def encoder_sizes(name: str) -> transformer.Transformer:
  """The encoder's sizes: of a folder's config.json, else those published under its name; nothing is downloaded.

  Raises:
    UserError: it is no folder and no name that is known.
  """
  from mlsd_jax.models import bert_config

  if pathlib.Path(name).is_dir():
    from mlsd_jax.encoder import model_folder

    return transformer.of_bert(dataclasses.asdict(model_folder.read_config(name)))
  size = next((size for part, size in ENCODERS.items() if part in name.lower()), None)
  if size is None:
    raise UserError(f'encoder.name={name!r} is no folder, and its name tells no size; {", ".join(ENCODERS)} do')
  return transformer.of_bert(dataclasses.asdict(bert_config.BertConfig()) | bert_config.SIZES[size])


def encoder_plan(run: contract.Run) -> training.Plan:
  """What a config of experiments.encoder trains."""
  config, train = run.config, run.config.train
  passages = 1 + config.pairs.negatives
  if config.kind == 'contrastive':
    own = config.contrastive
    texts, length, parts = train.batch_size, own.query_length + passages * own.passage_length, own.chunks
  elif config.kind == 'masked_lm':
    texts, length, parts = train.batch_size, config.masked_lm.length, 1
  elif config.kind == 'cross_encoder':
    texts, length, parts = train.batch_size * passages, config.cross_encoder.length, 1
  else:
    raise UserError(f'kind={config.kind!r} is not one of cross_encoder, contrastive, masked_lm')
  return training.Plan(
    encoder_sizes(config.encoder.name),
    length=length,
    batch_size=texts,
    steps=train.steps,
    accumulation=max(train.accumulation, 1) * parts,
    mesh=train.mesh.to_dict(),
    dtype=train.dtype,
    optimizer=train.optimizer.name,
  )


def _encoder(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> list[Group]:
  plan = encoder_plan(run)
  found = compiled('encoder', 'quickstart', plan, encoder_plan, hardware)
  return beside(training.estimate(plan, hardware, values['mfu']), found)


def _retrieval(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> list[Group]:
  config = run.config
  load = retrieval.Load(
    documents=values['documents'],
    tokens_per_document=values['tokens_per_document'],
    qps=values['qps'],
    query_tokens=int(values['query_tokens']),
    p99=values['p99'],
    updates_per_day=values['updates_per_day'],
    mfu=values['mfu'],
  )
  chunk, encoder = config.chunk, config.encoder
  if chunk.max_tokens and chunk.overlap >= chunk.max_tokens:
    raise UserError(f'chunk.overlap={chunk.overlap} must be below chunk.max_tokens={chunk.max_tokens}')
  return retrieval.estimate(
    encoder_sizes(encoder.name), load, hardware, max_tokens=chunk.max_tokens, overlap=chunk.overlap,
    max_length=encoder.max_length, dtype=encoder.dtype, rerank=config.search.rerank,
  )  # fmt: skip


# recsys, tokenizer, algorithms


def funnel_of(run: contract.Run, users: int, items: int) -> recommender.Funnel:
  """Sizes of the two models and of the stages."""
  from mlsd_jax.models.recommender_config import HEADS, SparseNNConfig, TwoTowerConfig
  from mlsd_jax.recsys.stages import features

  config = run.config
  levels = LEVELS.get(config.data.source, len([c for c in config.data.categories.split(',') if c.strip()]))
  # A code table has a row a value: of the finest column about an item in ten, of each coarser one a tenth of that.
  code_sizes = tuple(max(items // 10 ** (levels - level), 2) for level in range(levels))
  described: dict[str, Any] = {'num_items': items, 'code_sizes': code_sizes}
  tower = {**config.tower.model.to_dict(), **described, 'factor_dim': config.tower.factors}
  promoted = config.data.source == 'completejourney' and config.data.promotions
  snapshot: Any = types.SimpleNamespace(categories=[str(level) for level in range(levels)], promoted=promoted)
  per_source = config.funnel.per_source.to_dict()
  if not config.sequence.kind:  # no sequence model names candidates
    per_source.pop('sequence', None)
  number = len(features.dense_names(snapshot, tuple(per_source)))
  ranker = {**config.ranker.model.to_dict(), **described, 'num_dense': number}
  towers = recommender.of_towers(dataclasses.asdict(from_mapping(TwoTowerConfig, tower, 'tower.model')))
  sparse = recommender.of_ranker(dataclasses.asdict(from_mapping(SparseNNConfig, ranker, 'ranker.model')), len(HEADS))
  return recommender.Funnel(
    tables={
      f'{name}: {path}': shape
      for name, model in (('tower', towers), ('ranker', sparse))
      for path, shape in model.tables.items()
    },
    tower_weights=towers.weights,
    ranker_weights=sparse.weights,
    vector_dim=towers.vector_dim,
    per_source=per_source,
    keep=config.funnel.keep,
    shown=config.serve.number,
    features=number,
  )


def _recsys(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> list[Group]:
  source = run.config.data.source
  made = run.config.data.synthetic.to_dict()
  known = SHOPS.get(source, (made.get('num_users'), made.get('num_items')) if source == 'synthetic' else (None, None))
  users, items = values['users'] or known[0], values['items'] or known[1]
  if not users or not items:
    raise UserError(f'data.source={source!r} does not say how many users and items there are; --users=N --items=N do')
  daily = values['daily_users'] or users / 5
  if daily > users:
    raise UserError(f'--daily_users={daily:,.0f} are more than the {users:,.0f} users that there are')
  load = recommender.Load(users, items, daily, values['requests'], values['peak'], int(values['cores']))
  return recommender.estimate(funnel_of(run, int(users), int(items)), load)


def _tokenizer(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> list[Group]:
  load = tokenizer.Load(
    values['text'], values['bytes_per_token'], values['rate'], int(values['cores']), int(values['embed_dim'])
  )
  return tokenizer.estimate(run.config.vocab_size, load)


def _algorithms(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> list[Group]:
  limit = run.config.limits.time
  seconds = values['case_seconds'] or limit / 10
  if seconds > limit:
    raise UserError(f'--case_seconds={seconds:g} s is more than limits.time={limit:g} s, at which a run is stopped')
  load = judge.Load(
    values['contestants'], values['submissions'], values['duration'], values['peak'], int(values['cases']), seconds,
    values['output_bytes'], values['utilisation'],
  )  # fmt: skip
  return judge.estimate(load)


def _check_gpt() -> Mapping[str, sections.Section]:
  from mlsd_jax.models.decoder_config import read_config
  from mlsd_jax.training.config import TrainConfig

  return {'model': lambda values, name: read_config(values, name, vocab_size=256), 'train': TrainConfig}


def _check_encoder() -> Mapping[str, sections.Section]:
  from mlsd_jax.training.config import TrainConfig

  return {'train': TrainConfig, 'encoder': sections.OfEncoder}


def _check_retrieval() -> Mapping[str, sections.Section]:
  from mlsd_jax.retrieval.chunking import ChunkConfig

  return {'chunk': ChunkConfig, 'encoder': sections.OfEncoder}


_Count = Annotated[int, at_least(0)]
_Factors = sections.keys(factors=_Count)
_Keep = sections.keys(keep=Positive)


def _check_recsys() -> Mapping[str, sections.Section]:
  from mlsd_jax.models.recommender_config import SparseNNConfig, TwoTowerConfig

  return {
    'serve': sections.Serving,
    'funnel': lambda values, name: from_mapping(_Keep, {'keep': values['keep']}, name),
    'funnel.per_source': lambda values, name: from_mapping(
      sections.keys(**dict.fromkeys(values, _Count)), values, name
    ),
    'tower': lambda values, name: from_mapping(_Factors, {'factors': values['factors']}, name),
    'tower.model': sections.with_values(TwoTowerConfig, num_items=1),
    'ranker.model': sections.with_values(SparseNNConfig, num_dense=1, num_items=1),
  }


def _check_tokenizer() -> Mapping[str, sections.Section]:
  return {'': sections.keys(vocab_size=Positive)}


def _check_nothing() -> Mapping[str, sections.Section]:
  return {}


_TRAIN = ('train.steps', 'train.batch_size', 'train.accumulation', 'train.mesh', 'train.dtype', 'train.optimizer.name')
SYSTEMS = {
  'gpt2': System(
    ('data.tokenizer', 'data.source', 'model', *_TRAIN),
    _check_gpt,
    {
      'vocab_size': _VOCAB,
      'mfu': _MFU,
      'qps': Setting('10 QPS', 'rate', 'requests a second'),
      'prompt_tokens': Setting('', 'count', 'of a request (default: half of the context, at most 512)'),
      'new_tokens': Setting('', 'count', 'of a request (default: a quarter of the context, at most 256)'),
      'batch': Setting('0', 'count', 'requests continued together; 0: what fits, at most the critical batch'),
      'serve_dtype': Setting('bfloat16', 'dtype', 'of weights and cache that serve'),
    },
    estimate_gpt,
    lambda run, values, hardware: training.misfit(gpt_plan(run, values), hardware),
  ),
  'mingpt': System(
    ('parts', 'train', 'max_steps', 'climb', 'rungs', 'adder', 'sort', 'seq2seq'),
    _check_nothing,
    {'vocab_size': Setting('65', 'count', 'distinct characters of the text'), 'mfu': _MFU},
    estimate_mingpt,
  ),
  'makemore': System(
    ('ladder', 'models', 'train.steps', 'train.batch_size', 'train.dtype'),
    _check_nothing,
    {
      'vocab_size': Setting('27', 'count', 'distinct characters, the boundary included'),
      'length': Setting('16', 'count', 'places of the longest word, boundary included'),
      'mfu': _MFU,
    },
    estimate_makemore,
  ),
  'encoder': System(
    ('encoder.name', 'kind', 'pairs.negatives', 'cross_encoder', 'contrastive', 'masked_lm', *_TRAIN),
    _check_encoder,
    {'mfu': _MFU},
    _encoder,
    lambda run, values, hardware: training.misfit(encoder_plan(run), hardware),
  ),
  'retrieval': System(
    ('encoder', 'chunk', 'search.rerank'),
    _check_retrieval,
    {
      'documents': Setting('30M', 'count', 'of the corpus'),
      'tokens_per_document': Setting('500', 'count', 'on average'),
      'qps': Setting('500 QPS', 'rate', 'queries a second at the peak'),
      'query_tokens': Setting('12', 'count', 'of a query'),
      'p99': Setting('200 ms', 'seconds', 'that 99 of 100 queries may take'),
      'updates_per_day': Setting('300k', 'count', 'documents that change'),
      'mfu': _MFU,
    },
    _retrieval,
  ),
  'recsys': System(
    ('data.source', 'data.categories', 'data.promotions', 'data.synthetic', 'funnel.per_source', 'funnel.keep',
     'sequence.kind', 'tower.factors', 'tower.model', 'ranker.model', 'serve.number'),
    _check_recsys,
    {
      'users': Setting('', 'count', 'that there are (default: those of a known source)'),
      'items': Setting('', 'count', 'that there are'),
      'daily_users': Setting('', 'count', 'that come in a day (default: a fifth of them)'),
      'requests': Setting('10', 'count', 'of each, a day'),
      'peak': Setting('3', 'count', 'the busiest second over the mean one'),
      'cores': Setting('16', 'count', 'that score batches for all users'),
    },
    _recsys,
    uses_hardware=False,
    compiles_with=('hardware',),
  ),
  'tokenizer': System(
    ('vocab_size',),
    _check_tokenizer,
    {
      'text': Setting('40 GB', 'bytes', 'of text'),
      'bytes_per_token': Setting('4', 'count', 'measured on a sample'),
      'rate': Setting('20 MB', 'bytes', 'a second that one core encodes'),
      'cores': Setting('16', 'count', 'that encode'),
      'embed_dim': Setting('768', 'count', 'width of the model that reads the tokens'),
    },
    _tokenizer,
    uses_hardware=False,
  ),
  'algorithms': System(
    ('limits.time',),
    _check_nothing,
    {
      'contestants': Setting('100k', 'count', 'that take part'),
      'submissions': Setting('8', 'count', 'of each'),
      'duration': Setting('2 h', 'seconds', 'of the contest'),
      'peak': Setting('3', 'count', 'the busiest minute over the mean one'),
      'cases': Setting('50', 'count', 'of a problem'),
      'case_seconds': Setting('', 'seconds', 'of processor time a case (default: a tenth of limits.time)'),
      'output_bytes': Setting('4 KB', 'bytes', 'kept of a submission'),
      'utilisation': Setting('70%', 'share', 'of the time that workers are busy at the peak'),
    },
    _algorithms,
    uses_hardware=False,
  ),
}  # fmt: skip
