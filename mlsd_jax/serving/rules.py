"""Business rules: what may be shown, as data of the server (a JSON file) and of a request."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

from mlsd_jax.errors import UserError
from mlsd_jax.files import to_json
from mlsd_jax.reading import read_json
from mlsd_jax.recsys.live.live_state import View
from mlsd_jax.schema import between, from_mapping

EVERY = '*'  # in at_most: each category that is not named


@dataclasses.dataclass(frozen=True)
class Rules:
  """What a recommender may show.

  Attributes:
    in_stock: ids; others are left out. None for all.
    blocked: ids that are left out.
    pinned: ids that stand first, in this order, unless they are out of stock or blocked.
    exclude_bought: leave out what the user has bought before, unless it is pinned.
    at_most: places that items of a (finest) category may have, by its name; '*' stands for each that is not named.
    diversity: of MMR, from 0 (none) to 1.
    explore: the probability with which a place is given to an item that came after the build.
  """

  in_stock: tuple[str, ...] | None = None
  blocked: tuple[str, ...] = ()
  pinned: tuple[str, ...] = ()
  exclude_bought: bool = False
  at_most: Mapping[str, int] = dataclasses.field(default_factory=dict)
  diversity: Annotated[float, between(0, 1)] = 0.0
  explore: Annotated[float, between(0, 1)] = 0.0

  @property
  def rerank(self) -> bool:
    """Whether more is asked of a slate than the best items in order."""
    return bool(self.pinned or self.at_most or self.diversity or self.explore)

  def to_json(self) -> str:
    """What they are, but for what is not set."""
    usual = dataclasses.asdict(Rules())
    given = {name: value for name, value in dataclasses.asdict(self).items() if value != usual[name]}
    return to_json(given, 'an answer')

  def check(self, view: View) -> None:
    """Raises:
    UserError: an item or a category that there is not, named; fewer than no places.
    """
    for name in ('in_stock', 'blocked', 'pinned'):
      ids = getattr(self, name) or ()
      unknown = [id_ for id_ in ids if id_ not in view.items]
      if unknown:
        raise UserError(f'{name}: no item has the id {unknown[0][:100]!r} (one of {len(unknown)} that are not known)')
    for category, most in self.at_most.items():
      if category != EVERY and category not in view.categories:
        raise UserError(f'at_most: no item is of the category {category[:100]!r}')
      if most < 0:
        raise UserError(f'at_most: {category[:100]!r} may have {most} places')

  def of_request(self, asked: Mapping[str, Any]) -> 'Rules':
    """These with those of a request: it may ask for less of the shop's items, and for other settings, not for more."""
    lists = {name: tuple(value) if isinstance(value, list) else value for name, value in asked.items()}
    given: dict[str, Any] = {name: value for name, value in lists.items() if value is not None}
    if self.in_stock is not None and 'in_stock' in given:
      here = frozenset(self.in_stock)
      given['in_stock'] = tuple(id_ for id_ in given['in_stock'] if id_ in here)
    given['blocked'] = (*self.blocked, *given.get('blocked', ()))
    given['exclude_bought'] = self.exclude_bought or given.get('exclude_bought', False)
    if 'at_most' in given:
      given['at_most'] = dict(self.at_most) | dict(given['at_most'])
    return dataclasses.replace(self, **given)


def read(path: str | pathlib.Path, served: Mapping[str, View]) -> dict[str, Rules]:
  """Rules by the name of a recommender, from a JSON file: {"recsys/quickstart": {"blocked": ["17"], ...}}.

  Raises:
    UserError: it cannot be read, or names a recommender, a rule, an item or a category that there is not.
  """
  content = read_json(path, unique=True)
  if not isinstance(content, dict):
    raise UserError(f'{path} is not an object of rules by recommender')
  rules = {}
  for name, values in content.items():
    if name not in served:
      raise UserError(f'{path}: {name!r} is no recommender that is served; there are {", ".join(served) or "none"}')
    if not isinstance(values, dict):
      raise UserError(f'{path}: the rules of {name} are not an object')
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    try:
      rules[name] = from_mapping(Rules, lists, name)
      rules[name].check(served[name])
    except UserError as error:
      raise UserError(f'{path}: {error}') from None
  return rules
