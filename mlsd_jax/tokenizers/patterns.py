"""The patterns that cut text into pieces, within which byte-pair encoding merges.

Each published pattern is kept twice: as its makers write it (for tiktoken and for `split`), and in a form without
look-around that a linear-time engine (Rust's regex, through Polars) runs ten times as fast. All that the look-ahead
`\\s+(?!\\S)` does is to leave a run's last space to the word behind it, so the fast form first puts a mark there.
"""

import dataclasses
import functools
import re
import time
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import base

MARK = '\ufdd0'  # a noncharacter; text that holds it is cut by the plain form


_SECONDS, _SLOWEST = 30, 20_000  # a text may take so long, and a second more for so many characters
_PROBE_SECONDS, _PROBE_LENGTH, _PROBES = 2, 2_000, 200  # of processor time
_RUNS = ('a', 'A', 'é', '1', ' ', '\n', '\t', '.', '-', '_', '漢', 'aA', 'a ', 'a1', ' \n', "'s", 'a.')


@dataclasses.dataclass(frozen=True)
class Pattern:
  """How text is cut.

  Attributes:
    name: of PATTERNS; 'own' for a user's; 'none' leaves a text whole.
    plain: as tiktoken and the `regex` package read it; '' cuts nothing.
    fast: (where the mark goes, what the pieces are) for Rust's regex; None if there is no such form.
  """

  name: str
  plain: str
  fast: tuple[str, str] | None = None

  def split(self, text: str) -> list[str]:
    """The pieces of `text`; they join to it.

    Raises:
      UserError: a pattern of the user's own takes longer than any that is of use.
    """
    text = base.well_formed(text)
    if not self.plain:
      return [text] if text else []
    limit = _SECONDS + len(text) / _SLOWEST if self.name == 'own' else None
    try:
      return _compiled(self.plain).findall(text, timeout=limit)
    except TimeoutError as error:
      raise UserError(
        f'pattern {self.plain!r} takes more than {limit:.0f} seconds for {len(text):,} characters: it tries too many '
        'ways to match; make its repetitions possessive (a++) or tell apart what they repeat'
      ) from error


_LAST_SPACE = r'(\s)(\s\S)'
_LAST_SPACE_NO_BREAK = r'(\s)([^\S\r\n]\S)'  # where a run up to its last line break is a piece of its own
_UPPER, _LOWER = r'[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]', r'[\p{Ll}\p{Lm}\p{Lo}\p{M}]'
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

PATTERNS = {
  pattern.name: pattern
  for pattern in (
    Pattern('none', ''),
    Pattern(
      'gpt2',
      r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
      (_LAST_SPACE, rf"""'(?:[sdmt]|ll|ve|re)| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}{MARK}]+|\s+"""),
    ),
    Pattern(
      'cl100k',
      r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|"""
      r"""\s*[\r\n]|\s+(?!\S)|\s""",
      (
        _LAST_SPACE_NO_BREAK,
        rf"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{{L}}\p{{N}}{MARK}]?\p{{L}}+|\p{{N}}{{1,3}}|"""
        rf""" ?[^\s\p{{L}}\p{{N}}{MARK}]+[\r\n]*|\s+$|\s*[\r\n]|\s+""",
      ),
    ),
    Pattern(  # cl100k as tiktoken wrote it first and minbpe still does: white space that ends a text is cut as any
      'gpt4',
      r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|"""
      r"""\s*[\r\n]|\s+(?!\S)|\s+""",
      (
        _LAST_SPACE_NO_BREAK,
        rf"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{{L}}\p{{N}}{MARK}]?\p{{L}}+|\p{{N}}{{1,3}}|"""
        rf""" ?[^\s\p{{L}}\p{{N}}{MARK}]+[\r\n]*|\s*[\r\n]|\s+""",
      ),
    ),
    Pattern(
      'o200k',
      rf"""[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_SUFFIX}|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_SUFFIX}|"""
      r"""\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
      (
        _LAST_SPACE_NO_BREAK,
        rf"""[^\r\n\p{{L}}\p{{N}}{MARK}]?{_UPPER}*{_LOWER}+{_SUFFIX}|"""
        rf"""[^\r\n\p{{L}}\p{{N}}{MARK}]?{_UPPER}+{_LOWER}*{_SUFFIX}|"""
        rf"""\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}{MARK}]+[\r\n/]*|\s*[\r\n]+|\s+""",
      ),
    ),
  )
}


def pattern_for(spec: str) -> Pattern:
  """A named pattern, or one's own regular expression.

  Raises:
    UserError: the expression does not compile, or would hang on a run of some character.
  """
  if spec in PATTERNS:
    return PATTERNS[spec]
  known = next((pattern for pattern in PATTERNS.values() if pattern.plain == spec), None)
  if known is not None:
    return known
  import regex

  try:
    compiled = regex.compile(spec)
  except regex.error as error:
    raise UserError(f'pattern {spec!r} does not compile: {error} (named ones are {", ".join(PATTERNS)})') from error
  if compiled.groups:
    raise UserError(f'pattern {spec!r} has capturing groups; write (?:...) for (...)')
  _probe(compiled, spec)
  return Pattern('own', spec)


def _probe(compiled: Any, spec: str) -> None:
  """Tries a pattern on runs that make one which backtracks without end do so, with a limit of time."""
  own = dict.fromkeys([*re.findall(r'\w+', spec), *spec])
  deadline = time.process_time() + _PROBE_SECONDS
  for part in [*_RUNS, *own][:_PROBES]:
    for end in ('', '\ufdd1'):  # which no pattern names
      text = part * (_PROBE_LENGTH // len(part)) + end
      try:
        compiled.findall(text, timeout=max(deadline - time.process_time(), 0.001))
      except TimeoutError as error:
        raise UserError(
          f'pattern {spec!r} would hang: cutting {text[:20]!r}... ({len(text):,} characters) takes more than '
          f'{_PROBE_SECONDS} seconds; make its repetitions possessive (a++) or tell apart what they repeat'
        ) from error


@functools.cache
def _compiled(pattern: str) -> Any:
  import regex

  return regex.compile(pattern)
