"""Special tokens inside a text: which of them count as such, by minbpe's rule, and where one stands."""

import functools
from collections.abc import Collection, Iterator, Mapping

import regex

from mlsd_jax.errors import UserError

# What one may ask of the text around it, by Hugging Face's names: white space before it or behind it is part of it; it
# is no part of a longer word; it is looked for in the text as it was normalised.
LSTRIP, RSTRIP, SINGLE_WORD, NORMALIZED = EDGES = ('lstrip', 'rstrip', 'single_word', 'normalized')
_WORD = regex.compile(r'[\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\p{Join_Control}]')  # what \w is to Rust
_BLANKS = regex.compile(r'\p{White_Space}+')


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


def split_at(
  text: str, separators: Collection[str], edges: Mapping[str, Collection[str]] | None = None
) -> Iterator[tuple[str, bool]]:
  """`text` cut before and behind every occurrence of a separator, of two that begin alike at the longer one.

  Args:
    edges: what a separator asks of the text around it: names of EDGES.

  Yields:
    (part, whether it is a separator); a separator without the white space that is part of it.
  """
  if not separators:
    yield from [(text, False)] if text else []
    return
  done = 0
  for match in _finder(frozenset(separators)).finditer(text):
    token, asks = match.group(), (edges or {}).get(match.group(), ())
    start, stop = match.span()
    if SINGLE_WORD in asks and (_WORD.match(text, stop) or (start and _WORD.match(text, start - 1))):
      continue
    while LSTRIP in asks and start > done and _BLANKS.match(text, start - 1):
      start -= 1
    if RSTRIP in asks and (blanks := _BLANKS.match(text, stop)):
      stop = blanks.end()
    if done < start:
      yield text[done:start], False
    yield token, True
    done = stop
  if done < len(text):
    yield text[done:], False


@functools.lru_cache(maxsize=64)
def _finder(separators: frozenset[str]) -> regex.Pattern[str]:
  return regex.compile('|'.join(map(regex.escape, sorted(separators, key=lambda token: (-len(token), token)))))
