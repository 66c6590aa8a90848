"""What is fastest on this machine, measured once and remembered: sizes that change no result beyond float rounding.

    rows = choose('bfloat16 rows', (4, 8, 16), measure=seconds_of)

By hand: MLSD_CHOICES='bfloat16 rows=8'. What was measured lies in the cache folder, one file for each processor, set of
versions and set of candidates. A run that may be stopped and resumed keeps what it began with:

    with keep_in(workdir):
      rows = choose(...)              # from workdir/choices.json, where the run has one
"""

import contextlib
import contextvars
import functools
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import pathlib
import platform
import re
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.folders import cache_folder
from mlsd_jax.sealed import json_files

VARIABLE = 'MLSD_CHOICES'
NAMES = ('microbatches', 'turned kernels', 'bfloat16 rows')  # of all choices there are
ROUNDS = 5  # measurements of each candidate, which take turns
MARGIN = 0.05  # by which another candidate has to beat the first: less may be noise
FILE = 'choices.json'  # of a run
_PACKAGES = ('jax', 'jaxlib')
_run: contextvars.ContextVar[pathlib.Path | None] = contextvars.ContextVar('run', default=None)
_is_resumed: contextvars.ContextVar[bool] = contextvars.ContextVar('is_resumed', default=False)

_logger = logging.getLogger(__name__)


def choose(
  name: str,
  candidates: Sequence[int],
  measure: Callable[[int], float],
  *,
  of: Mapping[str, Any] | None = None,
  say: Callable[[str], None] = _logger.warning,
) -> int:
  """The candidate that takes the least time here.

  Inside `keep_in` what the run began with goes first, and a line says so where this machine would choose otherwise.
  Then that set by hand, then what was measured on this machine before; else all are measured now.

  Args:
    name: one of NAMES.
    candidates: the first is the one that stands where none is clearly faster.
    measure: seconds that one takes.
    of: what the measurement depends on beside the machine, such as the sizes of a model, as JSON has it.
    say: gets one line when something was measured, and one when a resumed run has no record of what it began with.

  Raises:
    UserError: what is set by hand is no candidate, names no choice, or is not what the run began with; or the run's
      file is damaged.
  """
  given = _by_hand(name)
  if given is not None and given not in candidates:
    raise UserError(f'{VARIABLE} sets {name}={given}, which is not one of {", ".join(map(str, candidates))}')
  plain = dict(of or {})
  path = None if (folder := _run.get()) is None else folder / FILE
  began_with = _read_run(path, name, plain)
  if given is None:
    here = _measured_before_or_now(name, tuple(candidates), measure, plain, say)
  else:
    here = given
  if began_with is None or path is None:
    if path is not None and _is_resumed.get():
      lost = 'has no longer' if path.exists() else 'is gone, and with it'
      say(f'{path} {lost} the choice of {name} with which the run began: it is made anew, {here}')
    _write_run(path, name, plain, here)
    return here
  if began_with not in candidates:
    raise UserError(f'{path} has {name}={began_with}, which is not one of {", ".join(map(str, candidates))}')
  if given not in (None, began_with):
    raise UserError(f'{VARIABLE} sets {name}={given}, and the run began with {began_with} ({path}): leave it out')
  if here != began_with:
    say(f'{name}: {began_with}, with which the run began; this machine would choose {here}')
  return began_with


@contextlib.contextmanager
def keep_in(folder: str | os.PathLike[str], *, is_resumed: bool = False) -> Iterator[None]:
  """What is chosen inside is written to `folder`, and read from there when the run is resumed.

  Args:
    is_resumed: whether the run has begun before, so that its choices must have been there.
  """
  token, resumed = _run.set(pathlib.Path(folder)), _is_resumed.set(is_resumed)
  try:
    yield
  finally:
    _run.reset(token)
    _is_resumed.reset(resumed)


@functools.cache
def describe_machine() -> dict[str, Any]:
  """Processor, what it can do, how many this process may use, and versions that decide speed."""
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text()
  except OSError:
    text = ''
  first = lambda key: (re.search(rf'^{key}\s*: (.*)$', text, re.MULTILINE) or ['', ''])[1]
  return {
    'processor': first('model name') or platform.processor() or platform.machine(),
    'instructions': hashlib.sha256(' '.join(sorted(first('flags').split())).encode()).hexdigest()[:16],
    'cores': len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(),
    'versions': {package: importlib.metadata.version(package) for package in _PACKAGES},
  }


def _measured_before_or_now(name: str, candidates: tuple[int, ...], measure, of: dict[str, Any], say) -> int:
  key = describe_machine() | {'name': name, 'candidates': list(candidates), 'of': of}
  digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
  path = cache_folder() / 'choices' / f'{re.sub(r"[^a-z0-9]+", "-", name.lower())}-{digest}.json'
  try:
    found = json_files.read_json(path) if path.exists() else {}
    if found.get('chosen') in candidates:
      return found['chosen']
  except (UserError, OSError):
    pass  # damaged: measured anew
  seconds = _time_all(candidates, measure)
  fastest = min(candidates, key=lambda each: seconds[each])
  chosen = fastest if seconds[fastest] < (1 - MARGIN) * seconds[candidates[0]] else candidates[0]
  figures = ', '.join(f'{each}: {1e3 * seconds[each]:.3g} ms' for each in candidates)
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    json_files.write_json(path, key | {'chosen': chosen, 'seconds': {str(each): seconds[each] for each in candidates}})
    where = f'remembered in {path}'
  except (UserError, OSError):
    where = 'the cache folder cannot be written, so each start measures it'
  say(f'{name}: {chosen} on this machine ({figures}); {where}')
  return chosen


def _read_run(path: pathlib.Path | None, name: str, of: dict[str, Any]) -> int | None:
  """What a run began with; None where it has not chosen yet."""
  kept = [] if path is None else _read_choices(path)
  return next((each['chosen'] for each in kept if (each['name'], each['of']) == (name, of)), None)


def _read_choices(path: pathlib.Path) -> list[dict[str, Any]]:
  if not path.exists():
    return []
  kept = json_files.read_json(path).get('choices')
  is_choice = lambda each: isinstance(each, dict) and {'name', 'of'} <= {*each} and type(each.get('chosen')) is int
  if not isinstance(kept, list) or not all(map(is_choice, kept)):
    raise UserError(f'{path} holds no choices of a run; put it back, or remove it to have them made anew')
  return kept


def _write_run(path: pathlib.Path | None, name: str, of: dict[str, Any], chosen: int) -> None:
  if path is None:
    return
  earlier = _read_choices(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  json_files.write_json(path, {'choices': [*earlier, {'name': name, 'of': of, 'chosen': chosen}]})


def _time_all(candidates: tuple[int, ...], measure) -> dict[int, float]:
  """Medians over rounds in which all take turns, so that a machine that gets busy does so for all."""
  taken: dict[int, list[float]] = {each: [] for each in candidates}
  for _ in range(ROUNDS):
    for each in candidates:
      taken[each].append(measure(each))
  medians = {each: statistics.median(seconds) for each, seconds in taken.items()}
  assert all(math.isfinite(seconds) and seconds > 0 for seconds in medians.values())
  return medians


def check_by_hand() -> None:
  """Raises UserError where the environment sets what is no choice; whether a value is a candidate `choose` tells."""
  _by_hand(NAMES[0])


def _by_hand(name: str) -> int | None:
  """The value that the environment gives a name.

  Raises:
    UserError: the variable is not of the form NAME=NUMBER,NAME=NUMBER, or has a name that is not in NAMES.
  """
  found = None
  for part in filter(None, map(str.strip, os.environ.get(VARIABLE, '').split(','))):
    key, sign, value = part.rpartition('=')
    if not sign or not re.fullmatch('[0-9]+', value.strip()):
      raise UserError(f"{VARIABLE}={os.environ[VARIABLE]!r} is not a list such as '{name}=8'")
    if key.strip() not in NAMES:
      raise UserError(f'{VARIABLE} sets {key.strip()!r}, which nothing is chosen by; there is {", ".join(NAMES)}')
    found = int(value) if key.strip() == name else found
  return found
