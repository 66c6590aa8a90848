"""YAML that others wrote."""

import functools
from typing import Any

from mlsd_jax.errors import UserError


def parse_yaml(text: str, where: str, *, plain: bool = False, unique: bool = True) -> Any:
  """The value that YAML text stands for.

  Args:
    where: file, for the error.
    plain: scalars stay text as they are written.
    unique: whether a key that a mapping has twice is an error, too; else the last counts.

  Raises:
    UserError: it is no YAML, or nested too deeply.
  """
  import yaml

  try:
    return yaml.load(text, Loader=_loader(plain, unique))
  except (yaml.YAMLError, RecursionError, ValueError) as error:  # the last: of a day such as 2026-02-31
    raise UserError(f'{where} is not YAML: {" ".join(str(error).split())[:200]}') from error


@functools.cache
def _loader(plain: bool, unique: bool) -> Any:
  import yaml

  base: Any = yaml.BaseLoader if plain else yaml.SafeLoader  # neither makes anything but values
  if not unique:
    return base

  class Unique(base):
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
      seen: set[tuple[str, str]] = set()
      for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and (key.tag, key.value) in seen:
          raise yaml.constructor.ConstructorError(None, None, f'the key {key.value!r} is there twice', key.start_mark)
        seen.add((key.tag, str(key.value)))
      return super().construct_mapping(node, deep)

  return Unique
