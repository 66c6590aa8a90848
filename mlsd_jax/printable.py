"""Text of a corpus, a model or a user, made fit to be shown: it moves no cursor, sets no colour, and is no markup.

All that experiments print goes through here; what `rich` prints is wrapped, as it takes strings for markup otherwise.
"""

import re
from typing import Any

# Pictures of the control characters stand for them, except newline and tab; what has no picture becomes U+FFFD: the C1
# controls, what overrides the direction of a line, half a surrogate pair.
_SHOWN = {code: 0x2400 + code for code in range(32) if chr(code) not in '\n\t'} | {127: 0x2421}
_REPLACED = [*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029]
_TABLE = _SHOWN | dict.fromkeys(_REPLACED, 0xFFFD)
_SURROGATE = re.compile('[\ud800-\udfff]')


def printable(text: str) -> str:
  """`text` without control characters: each is seen (ESC is ␛, NUL ␀), and none is obeyed."""
  return _SURROGATE.sub('\ufffd', text.replace('\r\n', '\n').translate(_TABLE))


def as_text(text: str, style: str = '') -> Any:
  """The same for `rich` to print: brackets are brackets, `[red]` is no colour."""
  from rich.text import Text

  return Text(printable(text), style)
