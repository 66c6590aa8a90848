"""The log of answers: what was shown to whom, where, with what chance, under which rules; Parquet, for who evaluates.

    STATE/RECOMMENDER/answers/part-TIME-NUMBER.parquet

A part is written whole, when it has many answers, when its first answer has waited for some seconds, and at the end. A
server that is killed loses the answers of those seconds, and nothing else.
"""

import dataclasses
import logging
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

import polars as pl

from mlsd_jax import sealed
from mlsd_jax.errors import UserError

_ROWS = 5000  # of a part
_SECONDS = 10.0  # that an answer waits for its part
_logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Shown:
  """One answer.

  Attributes:
    answer: its id, which events may name.
    time: seconds since 1970, of the shop's clock.
    items: ids by place; with the chance of a purchase, and the probability with which this item stood there.
    greedy: what would have stood at each place without exploration, '' for nothing.
    open: whether exploration could have given the place away.
    pool: what exploration draws from.
    candidates: what the ranker chose from, best first.
    rules: as JSON.
  """

  answer: str
  time: int
  model: str
  version: str
  user: str
  known: bool
  items: list[str]
  probability: list[float]
  propensity: list[float]
  greedy: list[str]
  open: list[bool]
  explore: float
  pool: list[str]
  candidates: list[str]
  rules: str


SCHEMA: dict[str, Any] = {
  'answer': pl.String,
  'time': pl.Int64,
  'model': pl.String,
  'version': pl.String,
  'user': pl.String,
  'known': pl.Boolean,
  'items': pl.List(pl.String),
  'probability': pl.List(pl.Float32),
  'propensity': pl.List(pl.Float32),
  'greedy': pl.List(pl.String),
  'open': pl.List(pl.Boolean),
  'explore': pl.Float64,
  'pool': pl.List(pl.String),
  'candidates': pl.List(pl.String),
  'rules': pl.String,
}


class AnswerLog:
  """Collects answers, and writes them in parts from a thread of its own: no answer waits for the disk."""

  def __init__(self, folder: pathlib.Path, wall: Callable[[], float] = time.time):
    self._folder, self._wall = folder, wall
    self._rows: list[Shown] = []
    self._came, self._closing, self._number = threading.Condition(), False, 0
    self._thread = threading.Thread(target=self._run, name='answers', daemon=True)
    self._thread.start()

  def add(self, shown: Shown) -> None:
    with self._came:
      self._rows.append(shown)
      if len(self._rows) in (1, _ROWS):
        self._came.notify()

  def _run(self) -> None:
    while True:
      with self._came:
        self._came.wait_for(lambda: self._rows or self._closing)
        self._came.wait_for(lambda: len(self._rows) >= _ROWS or self._closing, _SECONDS)
        rows, self._rows = self._rows, []
        closing = self._closing
      if rows:
        try:
          self._write(rows)
        except (UserError, OSError) as error:  # a full disk takes no answer away
          _logger.warning('%d answers are not logged: %s', len(rows), error)
      if closing and not self._rows:
        return

  def _write(self, rows: list[Shown]) -> None:
    columns = {name: [getattr(row, name) for row in rows] for name in SCHEMA}
    path = self._folder / f'part-{int(self._wall() * 1000):013d}-{self._number:04d}.parquet'
    self._number += 1
    sealed.write_file(path, pl.DataFrame(columns, SCHEMA).write_parquet)

  def close(self) -> None:
    """Writes what is left."""
    with self._came:
      self._closing = True
      self._came.notify()
    self._thread.join()
