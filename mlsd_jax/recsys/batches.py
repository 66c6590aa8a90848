"""Recommendations for all users: ranges of users as parts, each made by whoever has the state (mlsd_jax/executor)."""

import functools
import logging
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, Parts, map_parts
from mlsd_jax.executor.parts import numbered
from mlsd_jax.recsys import saved_state, serving
from mlsd_jax.training import devices

_AT_ONCE = 1000  # users whose candidates are held together
_FILE = 'recommendations.parquet'
_logger = logging.getLogger(__name__)


def recommend_all(
  root: pathlib.Path,
  output: str | os.PathLike[str],
  *,
  k: int = 12,
  part: int = 10_000,
  config: ExecutorConfig | None = None,
  on_part: Callable[[int], object] = lambda users: None,
  warn: Callable[[str], object] = _logger.warning,
) -> Parts:
  """The k best items of every user of a saved state, as Parquet files of `part` users; what is there is not made again.

  Columns: user, rank (from 1), item, probability (of a purchase within the week, given that the user buys at all).

  Args:
    root: where `saved_state.save` wrote; workers on other machines see it too.
    output: a folder, or a prefix of an object store.
    on_part: called with the users of each part that is made.

  Raises:
    UserError: no state, recommendations of another state in `output`, or what `map_parts` says.
  """
  state = saved_state.load(root)
  users = len(state.users)
  return map_parts(
    numbered([(first, min(first + part, users)) for first in range(0, users, part)]),
    functools.partial(Recommender.open, root, state.version, k),
    output,
    identity={'state': state.version, 'users': users, 'k': k, 'part': part},
    config=config,
    setup=devices.configure_backend,
    on_part=lambda name, note: on_part(note['users']),
    warn=warn,
  )


def paths(parts: Parts) -> list[pathlib.Path]:
  """The files of all parts, in order, fetched from where they lie."""
  return [folder / _FILE for folder in parts.folders()]


class Recommender:
  """A worker, which holds the state."""

  def __init__(self, state: serving.State, k: int):
    self._state, self._k = state, k

  @classmethod
  def open(cls, root: pathlib.Path, version: str, k: int) -> 'Recommender':
    state = saved_state.load(root)
    if state.version != version:
      raise UserError(f'{root} holds state {state.version} by now, not {version}: run the same command again')
    return cls(state, k)

  def __call__(self, users: tuple[int, int], folder: pathlib.Path) -> dict[str, Any]:
    state, k, chosen = self._state, self._k, np.arange(*users)
    answers = [serving.recommend(state, chosen[i : i + _AT_ONCE], k) for i in range(0, len(chosen), _AT_ONCE)]
    items = np.concatenate([answer.items for answer in answers])
    probability = np.concatenate([answer.probability for answer in answers])
    table = pl.DataFrame(
      {
        'user': state.users['id'].gather(np.repeat(chosen, k)),
        'rank': np.tile(np.arange(1, k + 1, dtype=np.int16), len(chosen)),
        'item': state.items['id'].gather(np.maximum(items, 0).ravel()),
        'probability': probability.ravel().astype(np.float32),
      }
    ).filter(pl.Series(items.ravel() >= 0))
    table.write_parquet(folder / _FILE)
    return {'users': len(chosen)}
