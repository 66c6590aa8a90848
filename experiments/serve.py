"""One server for every finished run: text, embeddings, reranking, search, recommendations, names, tokenizers.

python -m experiments.serve                             # what lies under runs/, at http://127.0.0.1:8000
python -m experiments.serve --config.port=9000 --config.runs=/data/runs
python -m experiments.serve --mode=prepare              # makes a small run of each system that has none
curl http://127.0.0.1:8000/v1/models

$MLSD_API_KEYS, separated by commas, are the keys of which each request must bring one; without, none is asked for.
"""

import dataclasses
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from experiments import contract, process
from experiments.listening import ends_at_once, listen
from experiments.serve_systems import SYSTEMS, read_config
from mlsd_jax import sealed
from mlsd_jax.errors import UserError
from mlsd_jax.schema import from_mapping
from mlsd_jax.serving import Limits, Services, create_app, rules
from mlsd_jax.serving.config import ServerConfig
from mlsd_jax.serving.judge_service import JudgeService
from mlsd_jax.serving.memory import arrays_apart
from mlsd_jax.serving.replacement import Source

KEYS = 'MLSD_API_KEYS'


@ends_at_once()  # while models are opened; what listens lets answers under way be finished
def serve(run: contract.Run) -> None:
  """Serves what it finds, until it is stopped: SIGTERM and Ctrl-C let answers under way be finished."""
  settings = from_mapping(ServerConfig, run.config.to_dict(), '')
  settings = dataclasses.replace(settings, state=settings.state or str(run.workdir / 'state'))
  commands = {SYSTEMS[name].field: _command(name) for name in reversed(SYSTEMS)}  # of two of a field the first
  services = Services(commands=commands | {'judges': 'python -m experiments.serve --config.judge=True'})
  for name, workdir in _finished(settings.runs):
    system = SYSTEMS[name]
    try:
      _add(name, workdir, settings, services)
    except UserError as error:
      run.print(f'{name}/{workdir.name}: not served: {error}')
      continue
    run.print(f'{name}/{workdir.name}: {system.what}')
  if settings.rules:
    views = {name: service.view for name, service in services.recommenders.items()}
    for name, each in rules.read(settings.rules, views).items():
      services.recommenders[name].rules = each
  if settings.judge:
    services.judges[JudgeService.name] = JudgeService.open(max_waiting=settings.max_waiting)
    run.print('judge: judges programs in its cage: /v1/judge')
  for name in _missing(settings.runs):
    run.print(f'{name}: nothing under {settings.runs}/{name}; {_command(name)} makes it')
  if not any((*services.kinds().values(), services.judges)):
    raise UserError(f'{settings.runs} holds no finished run; --mode=prepare makes a small one of each system')
  app = create_app(services, _limits(settings), renew_seconds=settings.renew_seconds)
  _listen(run, settings, app)


def _add(experiment: str, workdir: pathlib.Path, settings: ServerConfig, services: Services) -> None:
  """Opens a run, and notes where newer versions of it will lie."""
  system, name = SYSTEMS[experiment], f'{experiment}/{workdir.name}'

  def open_(known: Services) -> dict[str, dict[str, Any]]:
    _check_run(experiment, workdir)
    fresh = Services(shops=services.shops, vectors=dict(known.vectors))
    with arrays_apart():
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


def _check_run(experiment: str, workdir: pathlib.Path) -> None:
  """A run without a result may be one that was imported; one whose result is no longer whole is not what was made.

  Raises:
    UserError: result.json or config.json is damaged, or the config has a key that the experiment does not know.
  """
  read_config(experiment, workdir)
  if (workdir / 'result.json').exists():
    sealed.read_json(workdir / 'result.json')


def prepare(run: contract.Run) -> None:
  """Makes a small run of each system that has none, by its own command, and says what it prints and how long it took.

  Raises:
    UserError: some could not be made; the others were.
  """
  runs, missing, failed = run.config.runs, _missing(run.config.runs), []
  for number, name in enumerate(missing, 1):
    system, began = SYSTEMS[name], time.monotonic()
    arguments = [*system.command, *system.smaller, f'--workdir={pathlib.Path(runs, name, "quickstart")}']
    run.print(f'\n{number} of {len(missing)}: $ python {shlex.join(arguments)}')
    code = subprocess.run([sys.executable, *arguments], check=False).returncode
    if code == process.INTERRUPTED:
      raise KeyboardInterrupt
    failed += [f'experiments.{name} ended with exit code {code}'] if code else []
    run.print(f'{name}: {time.monotonic() - began:.0f} s')
  if failed:
    raise UserError(f'{", ".join(failed)}; the same command goes on where it stopped')
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
