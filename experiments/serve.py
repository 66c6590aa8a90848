"""One server for every finished run: text, embeddings, reranking, search, recommendations, names, tokenizers.

python -m experiments.serve                             # what lies under runs/, at http://127.0.0.1:8000
python -m experiments.serve --config.port=9000 --config.runs=/data/runs
python -m experiments.serve --mode=prepare              # makes a small run of each system that has none
curl http://127.0.0.1:8000/v1/models

$MLSD_API_KEYS, separated by commas, are the keys of which each request must bring one; without, none is asked for.
"""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from experiments import contract, makemore, retrieval_ask
from experiments.listening import listen
from mlsd_jax import sealed, tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import chat_template, pretrained
from mlsd_jax.language_model.text import run_tokenizer
from mlsd_jax.recsys import saved_state
from mlsd_jax.retrieval import changes, expansion, store
from mlsd_jax.schema import from_mapping
from mlsd_jax.serving import (
  AnswerLog,
  Limits,
  NameService,
  RecommendService,
  SearchService,
  Services,
  Shop,
  TextService,
  VectorService,
  create_app,
  rules,
)
from mlsd_jax.serving.config import ServerConfig
from mlsd_jax.serving.replacement import Source
from mlsd_jax.serving.search_service import AskConfig
from mlsd_jax.training.config import DTYPES
from mlsd_jax.training.step import cast_floating

KEYS = 'MLSD_API_KEYS'


@dataclasses.dataclass(frozen=True)
class System:
  """A kind of run that can be served.

  Attributes:
    what: it does, for the line that is printed.
    command: makes a small run of it.
    field: of Services that it is added to.
    is_finished: workdir -> whether there is something to serve.
    version: workdir -> what lies there now, None while it is not whole.
    open: (workdir, name, settings, services) adds it.
  """

  what: str
  command: tuple[str, ...]
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


def _stored_run(experiment: str, workdir: pathlib.Path) -> contract.Run:
  stored = sealed.read_json(workdir / 'config.json')
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
    'texts',
    lambda workdir: _of_text(workdir).exists() and (workdir / 'tokenizer.json').exists(),
    lambda workdir: _stamp(_of_text(workdir)),
    _open_text,
  ),
  'tokenizer': System(
    'splits text: /v1/tokenize',
    ('-m', 'experiments.tokenizer'),
    'tokenizers',
    lambda workdir: (workdir / 'tokenizer.json').exists(),
    lambda workdir: _stamp(workdir / 'tokenizer.json'),
    _open_tokenizer,
  ),
  'retrieval': System(
    'finds pages and answers: /v1/search, /v1/ask, /v1/embeddings, /v1/rerank',
    ('-m', 'experiments.retrieval'),
    'searches',
    lambda workdir: (workdir / 'index' / 'current.json').exists(),
    lambda workdir: _current_index(workdir / 'index'),
    _open_search,
  ),
  'recsys': System(
    'recommends: /v1/recommend',
    ('-m', 'experiments.recsys', '--config=configs/recsys/synthetic.py'),
    'recommenders',
    lambda workdir: (workdir / 'state' / 'current.json').exists(),
    lambda workdir: _current(workdir / 'state'),
    _open_recommender,
  ),
  'makemore': System(
    'makes names: /v1/names',
    ('-m', 'experiments.makemore'),
    'names',
    lambda workdir: (workdir / 'result.json').exists(),
    lambda workdir: _stamp(workdir / 'result.json'),
    _open_names,
  ),
}


def serve(run: contract.Run) -> None:
  """Serves what it finds, until it is stopped: SIGTERM and Ctrl-C let answers under way be finished."""
  settings = from_mapping(ServerConfig, run.config.to_dict(), '')
  settings = dataclasses.replace(settings, state=settings.state or str(run.workdir / 'state'))
  services = Services(commands={SYSTEMS[name].field: _command(name) for name in SYSTEMS})
  for name, workdir in _finished(settings.runs):
    system = SYSTEMS[name]
    try:
      _add(system, workdir, f'{name}/{workdir.name}', settings, services)
    except UserError as error:
      run.print(f'{name}/{workdir.name}: not served: {error}')
      continue
    run.print(f'{name}/{workdir.name}: {system.what}')
  if settings.rules:
    views = {name: service.view for name, service in services.recommenders.items()}
    for name, each in rules.read(settings.rules, views).items():
      services.recommenders[name].rules = each
  for name in _missing(settings.runs):
    run.print(f'{name}: nothing under {settings.runs}/{name}; {_command(name)} makes it')
  if not (services.texts or services.searches or services.recommenders or services.names or services.tokenizers):
    raise UserError(f'{settings.runs} holds no finished run; --mode=prepare makes a small one of each system')
  app = create_app(services, _limits(settings), renew_seconds=settings.renew_seconds)
  _listen(run, settings, app)


def _add(system: System, workdir: pathlib.Path, name: str, settings: ServerConfig, services: Services) -> None:
  """Opens a run, and notes where newer versions of it will lie."""

  def open_(known: Services) -> dict[str, dict[str, Any]]:
    fresh = Services(shops=services.shops, vectors=dict(known.vectors))
    system.open(workdir, name, settings, fresh)
    for old, service in ((services.recommenders.get(name), each) for each in fresh.recommenders.values()):
      service.rules = old.rules if old else service.rules
    kinds = services.kinds()
    return {
      kind: {key: each for key, each in named.items() if kinds[kind].get(key) is not each}
      for kind, named in fresh.kinds().items()
    }

  version = system.version(workdir)
  now = open_(services)
  for kind, named in services.kinds().items():
    named.update(now[kind])
  renew = lambda: open_(Services())
  services.sources.append(Source(name, lambda: system.version(workdir), now, renew, version))


def prepare(run: contract.Run) -> None:
  """Makes a small run of each system that has none, by its own command, and says what it prints."""
  runs = run.config.runs
  for name in _missing(runs):
    command = [sys.executable, *SYSTEMS[name].command, f'--workdir={pathlib.Path(runs, name, "quickstart")}']
    run.print(f'\n$ python {" ".join(command[1:])}')
    code = subprocess.run(command, check=False).returncode
    if code:
      raise UserError(f'experiments.{name} ended with exit code {code}; the same command goes on where it stopped')
  run.print(f'\neverything is under {runs}; python -m experiments.serve --config.runs={runs} serves it')


def _finished(runs: str) -> Iterator[tuple[str, pathlib.Path]]:
  for name, system in SYSTEMS.items():
    folder = pathlib.Path(runs, name)
    for workdir in sorted(folder.iterdir()) if folder.is_dir() else ():
      if workdir.is_dir() and system.is_finished(workdir):
        yield name, workdir


def _command(name: str) -> str:
  return f'python {" ".join(SYSTEMS[name].command)}'


def _missing(runs: str) -> list[str]:
  there = {name for name, _ in _finished(runs)}
  return [name for name in SYSTEMS if name not in there]


def _limits(settings: ServerConfig) -> Limits:
  return Limits(
    api_keys=tuple(key for each in os.environ.get(KEYS, '').split(',') if (key := each.strip())),
    max_body_bytes=int(settings.max_body_megabytes * 2**20),
    requests_per_minute=settings.requests_per_minute,
    max_waiting=settings.max_waiting,
    deadline_seconds=settings.deadline_seconds,
    cors_origins=settings.cors_origins,
  )


def _listen(run: contract.Run, settings: ServerConfig, app: Any) -> None:
  what = 'answers when its models are compiled (/ready); /docs says what it understands'
  listen(run, settings.host, settings.port, app, drain_seconds=settings.drain_seconds, what=what)


MODES = {
  'serve': contract.Mode(serve, tuple(field.name for field in dataclasses.fields(ServerConfig))),
  'prepare': contract.Mode(prepare, ('runs',)),
}


def _section(values: Mapping[str, Any], name: str) -> None:
  from_mapping(ServerConfig, values, name)


SECTIONS = {'': _section}


def main(argv: Sequence[str] | None = None) -> int:
  uses_jax = lambda run: run.flags['mode'] == 'serve'
  return contract.launch('serve', MODES, 'quickstart', uses_jax=uses_jax, sections=SECTIONS, argv=argv)


if __name__ == '__main__':
  sys.exit(main())
