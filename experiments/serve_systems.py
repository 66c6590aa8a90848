"""The kinds of run that experiments.serve serves: when one is finished, which version lies there, how it is opened."""

import contextlib
import dataclasses
import importlib
import pathlib
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from experiments import config_files, contract, makemore, retrieval_ask
from mlsd_jax import sealed, tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import chat_template, ladder, pretrained
from mlsd_jax.language_model.rungs import read_rungs
from mlsd_jax.language_model.text import run_tokenizer
from mlsd_jax.recsys import saved_state
from mlsd_jax.retrieval import changes, expansion, store
from mlsd_jax.schema import from_mapping
from mlsd_jax.serving import (
  AnswerLog,
  NameService,
  RecommendService,
  SearchService,
  Services,
  Shop,
  TextService,
  VectorService,
)
from mlsd_jax.serving.config import ServerConfig
from mlsd_jax.serving.search_service import AskConfig
from mlsd_jax.training.step import DTYPES, cast_floating


@dataclasses.dataclass(frozen=True)
class System:
  """A kind of run that can be served.

  Attributes:
    what: it does, for the line that is printed.
    command: makes a run of it.
    smaller: further arguments, with which it takes a minute or two.
    field: of Services that it is added to.
    is_finished: workdir -> whether there is something to serve.
    version: workdir -> what lies there now, None while it is not whole.
    open: (workdir, name, settings, services) adds it.
  """

  what: str
  command: tuple[str, ...]
  smaller: tuple[str, ...]
  field: str
  is_finished: Callable[[pathlib.Path], bool]
  version: Callable[[pathlib.Path], str | None]
  open: Callable[[pathlib.Path, str, ServerConfig, Services], None]


def _open_text(workdir: pathlib.Path, name: str, settings: ServerConfig, services: Services) -> None:
  params, model, _ = pretrained.load_run(workdir)
  params = cast_floating(params, DTYPES[settings.dtype])
  tokenizer = run_tokenizer(workdir)
  created = int(_of_text(workdir).stat().st_mtime)
  template = chat_template.load_of_run(workdir)
  end = None if template is None else template.turn_end(tokenizer)
  if end is not None and isinstance(tokenizer, tokenizers.BPETokenizer):
    tokenizer = tokenizer.ended_by(end)
  options: dict[str, Any] = dict(
    created=created, slots=settings.slots, max_waiting=settings.max_waiting, template=template
  )
  services.texts[name] = TextService(name, params, model, tokenizer, **options)
  services.tokenizers[name] = tokenizer


def _of_text(workdir: pathlib.Path) -> pathlib.Path:
  """What is there of a model that is whole: a training's result, or the config of one that was imported (step 0)."""
  imported = (workdir / 'checkpoints' / '0').is_dir()
  return workdir / ('config.json' if imported and not (workdir / 'result.json').exists() else 'result.json')


def _open_ladder(workdir: pathlib.Path, name: str, settings: ServerConfig, services: Services) -> None:
  tokenizer = run_tokenizer(workdir)
  config = _stored_run('mingpt', workdir).config.to_dict()
  options: dict[str, Any] = dict(slots=settings.slots, max_waiting=settings.max_waiting)
  for rung in read_rungs(config, tokenizer.vocab_size):
    params = cast_floating(ladder.load_rung(rung, workdir), DTYPES[settings.dtype])
    result = rung.folder(workdir) / 'result.json'
    sealed.read_json(result)
    created = int(result.stat().st_mtime)
    own = f'{name}/{rung.name}'
    services.texts[own] = TextService(own, params, rung.model, tokenizer, created=created, **options)
  services.tokenizers[name] = tokenizer


def _has_climbed(workdir: pathlib.Path) -> bool:
  """Or may have: what is wrong with its result is told when it is opened."""
  path = workdir / 'result.json'
  try:
    return path.exists() and 'val_loss' in sealed.read_json(path)
  except UserError:
    return True


def _open_tokenizer(workdir: pathlib.Path, name: str, settings: ServerConfig, services: Services) -> None:
  services.tokenizers[name] = tokenizers.load(workdir / 'tokenizer.json')


def _open_search(workdir: pathlib.Path, name: str, settings: ServerConfig, services: Services) -> None:
  run = _stored_run('retrieval', workdir)
  stored = run.config.to_dict()
  encoder = retrieval_ask.open_encoder(run)
  searcher = retrieval_ask.open_searcher(run, store.open_store(workdir / 'index', encoder), encoder)
  calibration, write = retrieval_ask.read_calibration(run), retrieval_ask.open_generator(run)
  answer = {key: value for key, value in stored['answer'].items() if key != 'shown'}
  services.searches[name] = SearchService(
    name,
    searcher,
    calibration,
    from_mapping(AskConfig, answer, 'answer'),
    rewrite=lambda query: expansion.rewrites(query, stored['search']['expansion'], write),
    write=write,
    max_waiting=settings.max_waiting,
  )
  known = {each.encoder.fingerprint for each in services.vectors.values()}
  if encoder.fingerprint not in known:
    services.vectors[encoder.name] = VectorService(
      encoder.name, encoder, searcher.cross_encoder, max_waiting=settings.max_waiting
    )


def _open_names(workdir: pathlib.Path, name: str, settings: ServerConfig, services: Services) -> None:
  run = _stored_run('makemore', workdir)
  words = makemore.open_words(run)
  services.names[name] = NameService(name, words, makemore.open_models(run, words), max_waiting=settings.max_waiting)


def read_config(experiment: str, workdir: pathlib.Path) -> dict[str, Any] | None:
  """The config of a run, as its experiment reads it when it goes on; None where there is none.

  Raises:
    UserError: it is damaged, or has a key that the experiment does not know.
  """
  renamed = getattr(importlib.import_module(f'experiments.{experiment}'), 'RENAMED', {})
  return config_files.read_stored(workdir, experiment, 'quickstart', renamed)


def _stored_run(experiment: str, workdir: pathlib.Path) -> contract.Run:
  stored = read_config(experiment, workdir)
  if stored is None:
    raise UserError(f'{workdir} holds no config.json, which says how its run is opened')
  return contract.Run(experiment, ConfigDict(stored), {}, workdir, stored)


def _open_recommender(workdir: pathlib.Path, name: str, settings: ServerConfig, services: Services) -> None:
  state = saved_state.load(workdir / 'state')
  if state.purchases is None:  # of an earlier release: it answers, and takes no events
    services.recommenders[name] = RecommendService(name, state, max_waiting=settings.max_waiting)
    return
  folder = pathlib.Path(settings.state, name)
  if name not in services.shops:
    services.shops[name] = Shop(state, folder), AnswerLog(folder / 'answers')
  shop, answers = services.shops[name]
  services.recommenders[name] = RecommendService(
    name, state, shop=shop, answers=answers, max_waiting=settings.max_waiting
  )


def _current(folder: pathlib.Path) -> str | None:
  """The version of a sealed folder that counts."""
  with contextlib.suppress(UserError, KeyError, TypeError):
    return str(sealed.read_json(folder / 'current.json')['version'])
  return None


def _current_index(folder: pathlib.Path) -> str | None:
  """The generation of an index, and how far its log of changes is."""
  version = _current(folder)
  logged = changes.size(folder / version) if version else 0
  return f'{version}+{logged}' if logged else version


def _stamp(path: pathlib.Path) -> str | None:
  """When a file was written that is written last."""
  with contextlib.suppress(OSError):
    status = path.stat()
    return f'{status.st_mtime_ns}-{status.st_size}'
  return None


SYSTEMS = {
  'gpt2': System(
    'writes text: /v1/completions',
    ('-m', 'experiments.gpt2'),
    ('--config.train.steps=800',),
    'texts',
    lambda workdir: _of_text(workdir).exists() and (workdir / 'tokenizer.json').exists(),
    lambda workdir: _stamp(_of_text(workdir)),
    _open_text,
  ),
  'mingpt': System(
    'writes text, a model a rung, and shows where it looks: /v1/completions, /v1/attention',
    ('-m', 'experiments.mingpt'),
    ("--config.parts=('ladder',)", '--config.max_steps=400'),
    'texts',
    _has_climbed,
    lambda workdir: _stamp(workdir / 'result.json'),
    _open_ladder,
  ),
  'tokenizer': System(
    'splits text: /v1/tokenize',
    ('-m', 'experiments.tokenizer'),
    (),
    'tokenizers',
    lambda workdir: (workdir / 'tokenizer.json').exists(),
    lambda workdir: _stamp(workdir / 'tokenizer.json'),
    _open_tokenizer,
  ),
  'retrieval': System(
    'finds pages and answers: /v1/search, /v1/ask, /v1/embeddings, /v1/rerank',
    ('-m', 'experiments.retrieval'),
    (),
    'searches',
    lambda workdir: (workdir / 'index' / 'current.json').exists(),
    lambda workdir: _current_index(workdir / 'index'),
    _open_search,
  ),
  'recsys': System(
    'recommends: /v1/recommend',
    ('-m', 'experiments.recsys', '--config=configs/recsys/synthetic.py'),
    (),
    'recommenders',
    lambda workdir: (workdir / 'state' / 'current.json').exists(),
    lambda workdir: _current(workdir / 'state'),
    _open_recommender,
  ),
  'makemore': System(
    'makes names: /v1/names',
    ('-m', 'experiments.makemore'),
    ("--config.ladder=('ngram','bigram','mlp','rnn','gru','transformer')",),
    'names',
    lambda workdir: (workdir / 'result.json').exists(),
    lambda workdir: _stamp(workdir / 'result.json'),
    _open_names,
  ),
}
