"""What an estimate is printed as: rows of quantity, value with unit, formula, in groups; and the verdict under them."""

import dataclasses
from collections.abc import Iterable, Sequence

from mlsd_jax.estimates.units import show


@dataclasses.dataclass(frozen=True)
class Row:
  """One quantity.

  Attributes:
    name: of the quantity.
    value: in the base unit; a text stands as it is.
    unit: see units.show.
    formula: in the symbols of the page, or where the number comes from.
  """

  name: str
  value: float | str
  unit: str = 'count'
  formula: str = ''

  @property
  def shown(self) -> str:
    return self.value if isinstance(self.value, str) else show(self.value, self.unit)


@dataclasses.dataclass(frozen=True)
class Group:
  """Rows under a heading, with what is to be said of them below (what bounds, whether it fits)."""

  title: str
  rows: tuple[Row, ...]
  notes: tuple[str, ...] = ()

  def __getitem__(self, name: str) -> float:
    """The number of a row, by its name."""
    value = next(row.value for row in self.rows if row.name == name)
    assert not isinstance(value, str), name
    return value


def lines(groups: Iterable[Group]) -> list[str]:
  """All groups as columns of text, of one width."""
  groups = list(groups)
  every = [row for group in groups for row in group.rows]
  name_width = max((len(row.name) for row in every), default=0)
  value_width = max((len(row.shown) for row in every), default=0)
  made: list[str] = []
  for group in groups:
    made += ['', group.title] if made else [group.title]
    made += [f'  {row.name:<{name_width}}  {row.shown:>{value_width}}   {row.formula}'.rstrip() for row in group.rows]
    made += [f'  -> {note}' for note in group.notes]
  return made


def to_json(groups: Sequence[Group]) -> list[dict]:
  """For a server or a file: [{'title', 'rows': [{'name', 'value', 'unit', 'formula', 'shown'}], 'notes'}]."""
  return [
    {
      'title': group.title,
      'rows': [dataclasses.asdict(row) | {'shown': row.shown} for row in group.rows],
      'notes': list(group.notes),
    }
    for group in groups
  ]
