"""The tokens of a text as a person looks at them: coloured in a terminal, and an HTML page of several tokenizers."""

import html
from collections.abc import Sequence

from mlsd_jax.printable import printable
from mlsd_jax.tokenizers import base
from mlsd_jax.tokenizers.exchange import show

# Neighbours differ in hue; dark text is readable on each.
COLORS = ('#fde68a', '#bfdbfe', '#bbf7d0', '#fecaca', '#ddd6fe', '#fed7aa')

_STYLE = """
body { font: 15px/1.7 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1e293b; }
h1 { font-size: 1.3rem; } h2 { font-size: 1rem; margin: 2rem 0 .4rem; } .facts { color: #64748b; font-weight: 400; }
.text { font: 15px/1.9 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.text span { padding: .1em 0; border-radius: .2em; } .text span:hover { outline: 2px solid #0f172a; }
"""


def spans(tokenizer: base.Tokenizer, text: str) -> list[tuple[str, list[int], bytes]]:
  """`text` in parts that are whole characters: (characters, the tokens they are made of, their bytes)."""
  stream = base.StreamDecoder(tokenizer)
  parts: list[tuple[str, list[int], bytes]] = []
  open_ids: list[int] = []
  for number in tokenizer.encode(text).tolist():
    open_ids.append(number)
    characters = stream.push(number)
    if characters:
      parts.append((characters, open_ids, tokenizer.decode_bytes(open_ids)))
      open_ids = []
  return parts


def in_terminal(tokenizer: base.Tokenizer, text: str) -> object:
  """`text` for rich to print, each token on a ground of its own colour."""
  from rich.text import Text

  shown = Text()
  for i, (characters, ids, _) in enumerate(spans(tokenizer, text)):
    visible = printable(characters.replace('\n', '⏎\n').replace('\t', '→   '))
    shown.append(visible, style=f'black on {COLORS[i % len(COLORS)]}' + (' underline' if len(ids) > 1 else ''))
  return shown


def in_plain_text(tokenizer: base.Tokenizer, text: str) -> str:
  """The tokens of `text` between bars, for where there are no colours."""
  return '|'.join(show(tokenizer.decode_bytes([i])) for i in tokenizer.encode(text).tolist())


def html_page(tokenizers: Sequence[base.Tokenizer], text: str) -> str:
  """One page, without anything from elsewhere: how each tokenizer cuts `text`; a token tells its id when pointed at."""
  sections = []
  num_bytes = len(base.well_formed(text).encode())
  for tokenizer in tokenizers:
    parts = spans(tokenizer, text)
    num_tokens = sum(len(ids) for _, ids, _ in parts)
    facts = f'{tokenizer.vocab_size:,} ids · {num_tokens:,} tokens · {num_bytes / max(num_tokens, 1):.2f} bytes a token'
    marks = ''.join(
      f'<span style="background:{COLORS[i % len(COLORS)]}" title="{_title(ids, utf8)}">'
      f'{html.escape(characters).replace(chr(10), "⏎" + chr(10))}</span>'
      for i, (characters, ids, utf8) in enumerate(parts)
    )
    sections.append(
      f'<h2>{html.escape(tokenizer.name)} <span class="facts">{facts}</span></h2><div class="text">{marks}</div>'
    )
  return (
    f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Tokens</title><style>{_STYLE}</style>'
    f'<h1>One text, {len(tokenizers)} tokenizer{"s" if len(tokenizers) != 1 else ""}</h1>{"".join(sections)}</html>\n'
  )


def _title(ids: list[int], utf8: bytes) -> str:
  return html.escape(f'{", ".join(map(str, ids))}: {utf8!r}')
