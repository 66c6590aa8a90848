"""One evaluation against an earlier one, query by query: what became better or worse, and whether that is chance.

Each evaluation leaves its measures by query (QUERIES in its folder of runs). The test is the paired randomisation test
of resampling.py, on the queries that both asked.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax import sealed
from mlsd_jax.errors import UserError
from mlsd_jax.resampling import sign_flip_p

QUERIES = 'queries.json'
LOWER_IS_BETTER = ('abstains', 'answers unknown')
_CHANCE = 0.05  # p below which a change counts

type ByQuery = Mapping[str, Mapping[str, float]]  # measure -> query id -> value


@dataclasses.dataclass(frozen=True)
class Change:
  """A measure's means before and now over `number` queries, and the p of their difference."""

  measure: str
  before: float
  now: float
  number: int
  p: float

  @property
  def is_worse(self) -> bool:
    """By more than chance."""
    lost = self.now > self.before if self.measure in LOWER_IS_BETTER else self.now < self.before
    return lost and self.p < _CHANCE


def read_by_query(path: pathlib.Path) -> ByQuery:
  """What an evaluation left.

  Raises:
    UserError: there is none, or the file is damaged.
  """
  if not path.is_file():
    raise UserError(f'{path} is not there: name the workdir of a run that --mode=evaluate has measured')
  content = sealed.read_json(path)
  if not isinstance(content, dict) or not all(isinstance(each, dict) for each in content.values()):
    raise UserError(f'{path} does not hold measures by query')
  try:
    return {name: {id_: float(value) for id_, value in values.items()} for name, values in content.items()}
  except (TypeError, ValueError) as error:
    raise UserError(f'{path} does not hold measures by query: {error}') from error


def compare(before: ByQuery, now: ByQuery) -> list[Change]:
  """Every measure that both have, over the queries that both asked.

  Raises:
    UserError: they share no measure of a query.
  """
  made = []
  for measure, values in now.items():
    shared = [id_ for id_ in values if id_ in before.get(measure, {})]
    if shared:
      old = np.array([before[measure][id_] for id_ in shared])
      new = np.array([values[id_] for id_ in shared])
      made.append(Change(measure, float(old.mean()), float(new.mean()), len(shared), sign_flip_p(new - old)))
  if not made:
    raise UserError('the two evaluations share no query: the baseline must be of the same collection')
  return made


def table(changes: Sequence[Change]) -> str:
  """A line a measure."""
  width = max(len(each.measure) for each in changes) + 2
  lines = [f'{"measure":<{width}}{"before":>8}{"now":>8}{"change":>9}{"p":>8}{"queries":>9}']
  for each in changes:
    verdict = '  worse' if each.is_worse else ''
    lines.append(
      f'{each.measure:<{width}}{each.before:8.4f}{each.now:8.4f}{each.now - each.before:+9.4f}{each.p:8.4f}'
      f'{each.number:9,}{verdict}'
    )
  return '\n'.join(lines)
