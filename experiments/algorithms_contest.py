"""A contest's folder in experiments.algorithms: laid out, filled from files or from a browser."""

import pathlib

from experiments import contract
from mlsd_jax.algorithms import contest_folder
from mlsd_jax.errors import UserError


def new(run: contract.Run) -> None:
  """Lays out --contest with a program and samples for each of --problems=A-D, or of --samples=FILE.prob."""
  folder = contest(run)
  made, names = [], []
  if run.flags['samples']:
    for problem in contest_folder.read_problems(pathlib.Path(run.flags['samples'])):
      name, written = contest_folder.fill(folder, problem)
      made += written
      names.append(name)
  else:
    names = contest_folder.letters(run.flags['problems'])
    made = contest_folder.new_contest(folder, names)
  run.print(''.join(f'wrote {path}\n' for path in made) + f'{folder}: {len(made)} new files')
  filled = '' if run.flags['samples'] else 'fill in the samples, then '
  run.print(f'{filled}judge: python -m experiments.algorithms --mode=test --problem={folder}/{names[0]}')


def listen(run: contract.Run) -> None:
  """Waits on --port for what the browser extension competitive-companion sends, and fills --contest with it."""
  folder = contest(run)
  try:
    port = int(run.flags['port'])
  except ValueError as error:
    raise UserError(f'--port={run.flags["port"]} is no number') from error
  if not 0 <= port <= 65535:
    raise UserError(f'--port={port} is no port; 0 to 65535 are')

  def receive(problem) -> None:
    name, made = contest_folder.fill(folder, problem)
    limits = ''.join(
      f' --config.limits.{key}={value}'
      for key, value in (
        ('time', _number(problem.get('timeLimit'), 1000)),
        ('memory', _number(problem.get('memoryLimit'), 1)),
      )
      if value
    )
    judged = f'python -m experiments.algorithms --mode=test --problem={folder}/{name}{limits}'
    run.print(f'{name}: {len(made)} new files; {judged}')

  with contest_folder.listen(port, receive) as server:
    run.print(f'waiting on port {server.server_port} for competitive-companion; Ctrl-C ends it')
    while server.received < server.expected:  # type: ignore[attr-defined]
      server.handle_request()


def contest(run: contract.Run) -> pathlib.Path:
  name = run.flags['contest']
  if not name:
    raise UserError(f'--mode={run.flags["mode"]} needs --contest=NAME')
  if pathlib.Path(name).name != name:
    raise UserError(f'--contest={name} is to be a name; --folder says where its folder goes')
  return folder_of(run) / name


def folder_of(run: contract.Run) -> pathlib.Path:
  return pathlib.Path(run.flags['folder'] or 'contests')


def _number(value: object, unit: int) -> str:
  return f'{value / unit:g}' if isinstance(value, int | float) and value > 0 else ''
