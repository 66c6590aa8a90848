"""Special tokens inside a text: which of them count as such, by minbpe's rule."""

import re
from collections.abc import Collection, Iterable

from mlsd_jax.errors import UserError


def allowed_in(text: str, allowed_special: str | Collection[str], special_tokens: Collection[str]) -> set[str]:
  """The special tokens whose spelling in `text` stands for their id; anything else is text.

  Args:
    allowed_special: 'all'; 'none'; 'none_raise', as 'none' but none must occur; or a collection of them.

  Raises:
    UserError: 'none_raise' and one occurs, or `allowed_special` names what is no special token.
  """
  if not isinstance(allowed_special, str):
    unknown = set(allowed_special) - set(special_tokens)
    if unknown:
      raise UserError(f'{min(unknown)!r} is no special token; there are {", ".join(map(repr, special_tokens))}')
    return set(allowed_special)
  if allowed_special == 'all':
    return set(special_tokens)
  if allowed_special == 'none_raise':
    found = next((token for token in special_tokens if token in text), None)
    if found is not None:
      raise UserError(f'the text holds the special token {found!r}; allow it, or encode with allowed_special="none"')
  elif allowed_special != 'none':
    raise UserError(f'allowed_special={allowed_special!r} is none of all, none, none_raise, or a set of tokens')
  return set()


def split_at(text: str, separators: Iterable[str]) -> list[str]:
  """`text` cut before and behind every occurrence of a separator, of two that begin alike at the longer one."""
  longest_first = sorted(separators, key=len, reverse=True)
  if not longest_first:
    return [text]
  return [part for part in re.split(f'({"|".join(map(re.escape, longest_first))})', text) if part]
