"""Rows of the table: ratios with their spread, Markdown, and what became slower than in another table."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlsd_jax.errors import UserError

ALLOWED = 0.1  # share of a ratio that --against lets fall, beside the spread


@dataclasses.dataclass(frozen=True)
class Row:
  """One comparison.

  Attributes:
    pair: a name of PAIRS.
    what: the quantity.
    ours: the median of our rounds, in `unit`.
    peer: the median of the peer's.
    against: the peer's name and form.
    unit: of both.
    ratio: how many times as fast ours is; above 1 ours is ahead.
    low: the smallest ratio of a round.
    high: the largest.
    of_limit: share of what the machine allows that ours reaches, if known.
    others: share of the processors that others used just before.
  """

  pair: str
  what: str
  ours: float
  peer: float
  against: str
  unit: str
  ratio: float
  low: float
  high: float
  of_limit: float | None
  others: float

  @property
  def key(self) -> tuple[str, str]:
    return self.pair, self.what


def make_row(pair: str, recorded: Mapping[str, Any], others: float) -> Row:
  """A row of what a benchmark recorded (record.pair).

  Raises:
    UserError: a figure is not a positive number.
  """
  ours, peer = recorded['ours'], recorded['peer']
  if not ours or not peer or not all(math.isfinite(x) and x > 0 for x in (*ours, *peer)):
    raise UserError(f'{recorded["what"]}: figures are to be positive numbers: {ours}, {peer}')
  times = lambda mine, theirs: mine / theirs if recorded['more_is_better'] else theirs / mine
  middle_ours, middle_peer = statistics.median(ours), statistics.median(peer)
  ratio = times(middle_ours, middle_peer)
  rounds = [times(mine, theirs) for mine, theirs in zip(ours, peer, strict=False)] + [ratio]
  limit = recorded['limit']
  of_limit = None if limit is None else (middle_ours / limit if recorded['more_is_better'] else limit / middle_ours)
  return Row(
    pair=pair,
    what=recorded['what'],
    ours=middle_ours,
    peer=middle_peer,
    against=recorded['against'],
    unit=recorded['unit'],
    ratio=ratio,
    low=min(rounds),
    high=max(rounds),
    of_limit=of_limit,
    others=others,
  )


def _figure(value: float) -> str:
  return f'{value:,.0f}' if value >= 1000 else f'{value:.4g}'


def cells(row: Row) -> tuple[str, ...]:
  return (
    row.what,
    f'{_figure(row.ours)} {row.unit}',
    f'{_figure(row.peer)} {row.unit}',
    row.against,
    f'{row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})',
    '' if row.of_limit is None else f'{row.of_limit:.0%}',
  )


HEAD = ('', 'ours', 'peer', 'which', 'times as fast', 'of the limit')


def terminal(rows: Iterable[Row]) -> str:
  """The table in columns."""
  lines = [HEAD, *map(cells, rows)]
  widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
  return '\n'.join(
    '  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
  )


def markdown(rows: Iterable[Row]) -> str:
  """The table as Markdown has it."""
  lines = [HEAD, ('---',) * len(HEAD), *map(cells, rows)]
  return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def fallen(rows: Sequence[Row], before: Sequence[Row]) -> list[str]:
  """A line for each ratio that fell by more than a tenth beyond the spread of both runs, and for each row that is gone.

  The spread is how far the rounds of a run reach below its ratio (now: above it), the larger of the two.
  """
  now = {row.key: row for row in rows}
  lines = []
  for old in before:
    new = now.get(old.key)
    if new is None:
      lines.append(f'{old.what}: not measured this time, {old.ratio:.2f} before')
      continue
    spread = max(old.ratio - old.low, new.high - new.ratio)
    if new.ratio < (1 - ALLOWED) * old.ratio - spread:
      lines.append(f'{old.what}: {new.ratio:.2f} times as fast, {old.ratio:.2f} before, spread {spread:.2f}')
  return lines
