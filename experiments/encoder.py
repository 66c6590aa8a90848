"""Training of text encoders on pairs that nobody labelled, out of the indexes of experiments.retrieval.

python -m experiments.encoder                                                # a cross-encoder, for search.rerank
python -m experiments.encoder --config=configs/encoder/contrastive.py        # adapts the encoder itself to a corpus
python -m experiments.encoder --config.data.source="('runs/retrieval/vmware','runs/mine')" --workdir=runs/encoder/two
python -m experiments.encoder --mode=evaluate                                # held-out pairs, before and after
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from experiments import compile_mode, config_files, contract, sections
from mlsd_jax.compilation import Program, batched_program, train_program
from mlsd_jax.encoder import pair_ranks
from mlsd_jax.encoder.encoder import CrossEncoder, Encoder, load_cross_encoder, load_encoder
from mlsd_jax.encoder.examples import Pair
from mlsd_jax.encoder.tasks import BERT_RULES
from mlsd_jax.encoder.training import (
  ContrastiveConfig,
  CrossEncoderConfig,
  MaskedLMConfig,
  batch_shapes,
  check_lengths,
  heads_of,
  make_task,
  pretrain_mlm,
  train_contrastive,
  train_cross_encoder,
)
from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.retrieval import query_pairs, store
from mlsd_jax.retrieval.query_pairs import PairConfig
from mlsd_jax.schema import Rule, Source, from_mapping, not_here
from mlsd_jax.training import distributed, plots
from mlsd_jax.training.config import TrainConfig, free_keys
from mlsd_jax.training.loop import Result, check_settings
from mlsd_jax.training.metrics import read_metrics
from mlsd_jax.training.step import DTYPES, cast_floating

KINDS = {'cross_encoder': CrossEncoderConfig, 'contrastive': ContrastiveConfig, 'masked_lm': MaskedLMConfig}
type Settings = CrossEncoderConfig | ContrastiveConfig | MaskedLMConfig


def train(run: contract.Run) -> None:
  """Makes pairs, trains on all but one in twenty (or goes on), measures on those before and after."""
  settings = _settings(run)
  check_settings(settings.train)
  encoder, stores = _open(run)
  check_lengths(settings, encoder.model, f'config.{run.config.kind}.')
  free, data = _free(run), {str(workdir): _generation(opened) for workdir, opened in stores.items()}
  run.check(free, data)
  finished = run.result()
  if finished:
    return run.print_finished(_summary(run, finished))
  try:
    held, rest = _pairs(run, encoder, stores)
  except UserError as error:
    if run.config.kind != 'masked_lm':
      raise
    held, rest = [], []  # only the measure on pairs is lost
    run.print(f'without pairs to be judged by: {error}')
  run.claim(free, data)
  trained, result = _train(run, encoder, settings, list(stores.values()), held, rest)
  if result.interrupted:
    return None
  trained.save(run.workdir / 'model')
  if distributed.is_main():
    title = f'{run.config.kind}, {run.workdir.name}'
    plots.loss_curve(read_metrics(run.workdir), run.workdir / 'plots' / 'loss.png', title=title, unit='nats')
  run.write_result(
    _measured(encoder, trained, held)
    | ({'val_loss': result.metrics['loss']} if 'loss' in result.metrics else {})  # where a pair was held out
    | {'num_pairs': len(rest), 'held_out_pairs': len(held)}
    | {'steps': result.step, 'train_seconds': result.train_seconds, **result.origin()}
  )
  return run.print(f'{run.workdir}: {_summary(run, run.result() or {})}')


def programs(config: Any) -> list[Program]:
  """What --mode=compile compiles: the training of config.kind, and embedding of a batch of texts."""
  settings = _read_settings(config)
  encoder = load_encoder(config.encoder.name, dtype=config.encoder.dtype, max_length=config.encoder.max_length)
  passages, model = config.pairs.negatives + 1, encoder.model
  trained = dataclasses.replace(model.config, heads=heads_of(settings, model.config), dropout=settings.dropout)
  task = make_task(trained, model.pooling, settings, passages)
  mesh = settings.train.mesh
  tokens = jax.ShapeDtypeStruct((settings.train.batch_size, model.max_length), jnp.int32)

  def embed(params, batch):
    mask = batch['tokens'] >= 0
    return bert.embed(params, jnp.maximum(batch['tokens'], 0), mask, model.config, model.pooling)

  params = jax.eval_shape(
    lambda: cast_floating(bert.init(jax.random.key(0), model.config), DTYPES[config.encoder.dtype])
  )
  return [
    train_program(task, settings.train, batch_shapes(settings, passages), f'train {config.kind}'),
    batched_program('embedding', embed, params, {'tokens': tokens}, BERT_RULES, mesh),
  ]


def evaluate(run: contract.Run) -> None:
  """How often the encoder it began with, and the trained one, put a held-out pair's passage first."""
  folder = run.workdir / 'model'
  if not folder.is_dir():
    raise UserError(f'{run.workdir} holds no trained model; run --mode=train first')
  encoder, stores = _open(run)
  load = load_cross_encoder if run.config.kind == 'cross_encoder' else load_encoder
  trained = load(folder, dtype=run.config.encoder.dtype)
  held, _ = _pairs(run, encoder, stores)
  run.write_result(_measured(encoder, trained, held) | {'held_out_pairs': len(held)})
  run.print(f'{run.workdir}: {_summary(run, run.result() or {})}')


def _settings(run: contract.Run) -> Settings:
  return _read_settings(run.config)


def _read_settings(config: Any) -> Settings:
  """The settings of the config's kind, all of them checked."""
  if config.kind not in KINDS:
    raise UserError(f'config.kind={config.kind!r} is not one of {", ".join(KINDS)}')
  trainer = from_mapping(TrainConfig, config.train.to_dict(), 'train')
  from_mapping(PairConfig, config.pairs.to_dict(), 'pairs')
  return from_mapping(KINDS[config.kind], config[config.kind].to_dict() | {'train': trainer}, config.kind)


def _free(run: contract.Run) -> tuple[str, ...]:
  """Keys that change no result: how it runs, and what belongs to another kind of training."""
  others = tuple(kind for kind in KINDS if kind != run.config.kind)
  unused = () if 'written' in run.config.pairs.sources else ('generator',)
  return (*free_keys('train'), *others, *unused)


def _open(run: contract.Run) -> tuple[Encoder, dict[pathlib.Path, store.Store]]:
  """The encoder, and by workdir the indexes that it made.

  Raises:
    UserError: a workdir without an index; the command that makes it is named.
  """
  given = run.config.data.source
  workdirs = [pathlib.Path(each) for each in ((given,) if isinstance(given, str) else given)]
  for workdir in workdirs:
    if not (workdir / 'index').exists():
      raise UserError(f'{workdir} holds no index to take pairs from; make it with: {_command(workdir)}')
  config = run.config.encoder
  encoder = load_encoder(config.name, dtype=config.dtype, max_length=config.max_length)
  hides = lambda workdir: run.config.data.held_back and store.is_built(workdir / 'evaluation')
  names = {workdir: 'evaluation' if hides(workdir) else 'index' for workdir in workdirs}
  return encoder, {workdir: store.open_store(workdir / name, encoder) for workdir, name in names.items()}


def _generation(opened: store.Store) -> str:
  name, above = opened.folder.name, opened.folder.parent.name
  return name if above == 'index' else f'{above}/{name}'


def _command(workdir: pathlib.Path) -> str:
  """The command of experiments.retrieval whose default workdir this is, or that takes it as its workdir."""
  variant, _, argument = workdir.name.partition('-')
  command = 'python -m experiments.retrieval'
  if workdir == pathlib.Path('runs', 'retrieval', 'quickstart'):
    return command
  if workdir.parent == pathlib.Path('runs', 'retrieval') and variant in config_files.variants(
    config_files.REPOSITORY / 'configs' / 'retrieval'
  ):
    return f'{command} --config=configs/retrieval/{variant}.py' + (f':{argument}' if argument else '')
  return f'{command} --config.data.source=FOLDER --workdir={workdir}'


def _pairs(
  run: contract.Run, encoder: Encoder, stores: Mapping[pathlib.Path, store.Store]
) -> tuple[list[Pair], list[Pair]]:
  """Pairs to judge by, and pairs to learn from."""
  config = from_mapping(PairConfig, run.config.pairs.to_dict(), 'pairs')
  write = _generator(run)
  held: list[Pair] = []
  rest: list[Pair] = []
  for workdir, opened in stores.items():
    made = query_pairs.make_pairs(opened, encoder, config, write)
    if not made:
      raise UserError(
        f'{workdir}: no query finds {config.negatives} passages of other pages that are not too near its own; '
        'lower pairs.negatives, or take more pages'
      )
    held += made[: len(made) // 20]
    rest += made[len(made) // 20 :]
    run.print(f'{workdir}: {len(made):,} pairs, one in twenty held out; for example {made[-1].query!r}')
  return held, rest


def _generator(run: contract.Run) -> Callable[[str], str] | None:
  if not run.config.generator:
    return None
  from mlsd_jax.language_model import pretrained

  return pretrained.writer(run.config.generator).line


def _train(
  run: contract.Run,
  encoder: Encoder,
  settings: Settings,
  stores: Sequence[store.Store],
  held: Sequence[Pair],
  rest: Sequence[Pair],
) -> tuple[Encoder | CrossEncoder, Result]:
  if isinstance(settings, ContrastiveConfig):
    return train_contrastive(encoder, rest, settings, run.workdir, held)
  if isinstance(settings, CrossEncoderConfig):
    lists, held_lists = query_pairs.ranked(rest), query_pairs.ranked(held)
    return train_cross_encoder(encoder, lists, settings, run.workdir, held_lists)
  texts = [[opened.chunk_text(row) for row in range(opened.num_chunks)] for opened in stores]
  held_texts = [text for each in texts for text in each[: len(each) // 20]]
  rest_texts = [text for each in texts for text in each[len(each) // 20 :]]
  return pretrain_mlm(encoder, rest_texts, settings, run.workdir, held_texts)


def _measured(before: Encoder, trained: Encoder | CrossEncoder, held: Sequence[Pair]) -> dict[str, Any]:
  """{'accuracy': {'before': ..., 'trained': ...}, 'mrr': ...} on held-out pairs; {} where there are none."""
  if not held:
    return {}
  measured = {
    name: pair_ranks.summary(pair_ranks.right_ranks(model, held))
    for name, model in (('before', before), ('trained', trained))
  }
  return {measure: {name: values[measure] for name, values in measured.items()} for measure in ('accuracy', 'mrr')}


def _summary(run: contract.Run, result: Mapping[str, Any]) -> str:
  key = 'cross_encoder' if run.config.kind == 'cross_encoder' else 'encoder.name'
  shares = result.get('accuracy')
  measured = (
    f'the right passage is first for {shares["before"]:.1%} of {result["held_out_pairs"]:,} held-out queries before, '
    f'{shares["trained"]:.1%} after; '
    if shares
    else ''
  )
  return (
    f'{measured}{result["train_seconds"]:.0f} s of training; use it in experiments.retrieval with '
    f'--config.{key}={run.workdir}/model'
  )


def _idle(run: contract.Run) -> dict[str, str]:
  config = run.config
  if config.kind not in KINDS:
    return {}  # which is a mistake of its own
  idle = {kind: f'config.kind is {config.kind!r}' for kind in KINDS if kind != config.kind}
  if 'written' not in config.pairs.sources:
    idle['generator'] = "config.pairs.sources has no 'written'"
  return idle


_PAIRS = ('data', 'encoder', 'pairs', 'kind', 'generator')
MODES = {
  'train': contract.Mode(train, (*_PAIRS, 'train', *KINDS)),
  'evaluate': contract.Mode(evaluate, kept=_PAIRS),
  'compile': compile_mode.mode(programs, ('encoder', 'pairs', 'kind', 'train', *KINDS)),
}

CLASSES = (('pairs', PairConfig), *KINDS.items())


def _check_kind(values: Mapping[str, Any], name: str) -> None:
  trainer = TrainConfig(steps=1, batch_size=max(1, values.get('chunks', 1)))
  from_mapping(KINDS[name], {**values, 'train': trainer}, name)


def _wrong_workdirs(value: Any) -> str | None:
  folders = (value,) if isinstance(value, str) else tuple(value)
  if not folders or '' in folders:
    return 'names no workdir of retrieval'
  return next(filter(None, map(not_here, folders)), None)


_Workdirs = Annotated[Any, Rule(_wrong_workdirs)]
SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(generator=Source, kind=str),
  'data': sections.keys(source=_Workdirs, held_back=bool),
  'encoder': sections.OfEncoder,
  'pairs': PairConfig,
  **dict.fromkeys(KINDS, _check_kind),
  'train': TrainConfig,
}


def main(argv: Sequence[str] | None = None) -> int:
  return contract.launch(
    'encoder',
    MODES,
    'quickstart',
    define_flags=compile_mode.define_flags,
    idle=_idle,
    sections=SECTIONS,
    classes=CLASSES,
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
