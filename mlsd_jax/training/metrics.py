"""What a run measures, written where people look: metrics.jsonl, and TensorBoard."""

import logging
import math
import os
import pathlib
import re
import time
import zlib
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np

from mlsd_jax import reading
from mlsd_jax.errors import UserError
from mlsd_jax.files import to_json, write_text
from mlsd_jax.training import distributed

FILE_NAME = 'metrics.jsonl'
_logger = logging.getLogger(__name__)

type Record = dict[str, Any]  # {'step': int, 'time': seconds since 1970, name: float or None}


class MetricsWriter:
  """Appends one JSON object a step to workdir/metrics.jsonl and the same scalars to workdir/tensorboard.

  Values may be jax.Arrays still being computed. A record is held back, its copy to the host begun, until a record of a
  later step comes (or `flush`): by then the device is done with it, so that fetching it stalls nothing. (A thread would
  fetch sooner, but would compete with the dispatching one for the interpreter and write in no certain order.) All
  values given for one step become one record; its last key, 'crc32', is the checksum of its line without that key.

  JSON has no NaN: a value that is not finite is written as null, so that any JSON reader takes the file and the
  column stays numeric. TensorBoard does not get it.

  Only process 0 writes; the others may call everything.
  """

  def __init__(self, workdir: str | os.PathLike[str], *, resume_step: int | None = None, tensorboard: bool = True):
    """
    Args:
      resume_step: the step a run goes on from. Later records, of steps that will be made again, are dropped, so that
        the file reads as that of a run never interrupted. None starts a new file.
      tensorboard: whether to write event files as well.
    """
    self._workdir = pathlib.Path(workdir)
    self._step: int | None = None
    self._time = 0.0
    self._values: dict[str, Any] = {}
    self._file: Any = None
    self._events: Any = None
    self._active = distributed.is_main()
    self._tensorboard = tensorboard
    self._purge_step = 0 if resume_step is None else resume_step + 1
    if self._active:
      _keep_until(self._workdir / FILE_NAME, -1 if resume_step is None else resume_step)

  def __enter__(self) -> Self:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def write(self, step: int, metrics: Mapping[str, Any]) -> None:
    """Adds scalars (numbers, or jax.Arrays of one element) to the record of `step`.

    Raises:
      UserError: the record of an earlier step could not be written (no space).
    """
    if not self._active:
      return
    if step != self._step:
      self.flush()
      self._step, self._time = step, time.time()
    for value in metrics.values():
      if isinstance(value, jax.Array):
        value.copy_to_host_async()
    self._values.update(metrics)

  def flush(self) -> None:
    """Writes the record held back. Call it before a checkpoint: what is written later is lost if the run is killed."""
    if self._step is None or not self._active:
      return
    step, held, self._step, self._values = self._step, self._values, None, {}
    numbers = {name: float(np.asarray(value).reshape(())) for name, value in held.items()}
    values = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
    line = to_json({'step': step, 'time': round(self._time, 3)} | values, self._workdir / FILE_NAME)
    try:
      if self._file is None:
        self._file = open(self._workdir / FILE_NAME, 'a', encoding='utf-8')  # noqa: SIM115 - closed by close()
      self._file.write(_checked(line) + '\n')
      self._file.flush()
      if self._tensorboard:
        self._write_events(step, values)
    except OSError as error:
      raise UserError(f'cannot write metrics of step {step} to {self._workdir}: {error.strerror}') from error

  def close(self) -> None:
    """Writes what is held back and closes the files."""
    try:
      self.flush()
    finally:
      if self._file is not None:
        self._file.close()
      if self._events is not None:
        self._events.close()
      self._file = self._events = None

  def _write_events(self, step: int, values: dict[str, float | None]) -> None:
    if self._events is None:
      from tensorboardX import SummaryWriter

      self._events = SummaryWriter(
        str(self._workdir / 'tensorboard'),
        purge_step=self._purge_step,
        flush_secs=10,
        filename_suffix=f'.{time.time_ns()}',  # its own names differ by the second: a quick restart would overwrite
      )
    for name, value in values.items():
      if value is not None:
        self._events.add_scalar(name, value, step, walltime=self._time)


def read_metrics(workdir: str | os.PathLike[str], *, tell: bool = True) -> list[Record]:
  """The records of workdir/metrics.jsonl in order; [] if there is no such file.

  The last line, half written when the run was killed, is left out. So is what is damaged, of which a line is logged.

  Args:
    tell: False where a MetricsWriter follows, which drops what is damaged and logs the same.
  """
  path = pathlib.Path(workdir) / FILE_NAME
  return [record for _, record in _records(path, tell)] if path.exists() else []


def _records(path: pathlib.Path, tell: bool = True) -> list[tuple[str, Record]]:
  """(line as it stands there, what it says) of every whole line."""
  *lines, rest = path.read_text(encoding='utf-8', errors='replace').split('\n')
  found = [(line, _record(line)) for line in lines]
  damaged = [number for number, (_, record) in enumerate(found, 1) if record is None]
  if _CHECKED.match(rest):  # written to its end, and its end is another now: not half of a line
    damaged.append(len(lines) + 1)
  if damaged and tell:
    shown = ', '.join(map(str, damaged[:3])) + (f' and {len(damaged) - 3:,} more' if len(damaged) > 3 else '')
    _logger.warning('%s is damaged in line %s: left out', path, shown)
  return [(line, record) for line, record in found if record is not None]


_CHECKED = re.compile(r'(\{.*), "crc32": "([0-9a-f]{8})"\}')


def _checked(text: str) -> str:
  """A JSON object with the CRC-32 of its text as its last key."""
  return f'{text[:-1]}, "crc32": "{zlib.crc32(text.encode()):08x}"}}'


def _record(line: str) -> Record | None:
  """None if the line is no record, or not as it was written. One without a checksum, as older ones, is taken."""
  checked = _CHECKED.fullmatch(line)
  text = f'{checked[1]}}}' if checked else line
  if checked and zlib.crc32(text.encode()) != int(checked[2], 16):
    return None
  try:
    record = reading.parse_json(text, 'a record')
  except UserError:
    return None
  whole = isinstance(record, dict) and isinstance(record.get('step'), int)
  return record if whole and all(value is None or isinstance(value, int | float) for value in record.values()) else None


def _keep_until(path: pathlib.Path, last_step: int) -> None:
  """Drops all but records of steps up to `last_step`; the file is replaced at once, or left alone if it is right."""
  path.parent.mkdir(parents=True, exist_ok=True)
  if not path.exists():
    return
  kept = ''.join(f'{line}\n' for line, record in _records(path) if record['step'] <= last_step)
  if kept.encode() != path.read_bytes():
    write_text(path, kept)
