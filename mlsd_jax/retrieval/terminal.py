"""An answer on the terminal: sentences with their citations, then the pages found."""

import re
import textwrap

from mlsd_jax.retrieval.answers import Answer, distinct
from mlsd_jax.retrieval.bm25 import Analyzer
from mlsd_jax.retrieval.chunking import plain_text
from mlsd_jax.retrieval.search import Found, Searcher

_SNIPPET = 240  # characters


def show(searcher: Searcher, query: str, found: Found, answer: Answer, *, shown: int, seconds: float) -> None:
  """Prints an answer; words of the query stand out on a terminal."""
  from rich.console import Console
  from rich.text import Text

  console = Console(highlight=False, soft_wrap=True)
  words = set(Analyzer(stem=True)(query))

  def marked(text: str) -> Text:
    line = Text(text)
    for found_ in re.finditer(r'\w+', text):
      if words & set(Analyzer(stem=True)(found_[0])):
        line.stylize('bold yellow', *found_.span())
    return line

  confidence = '' if answer.confidence is None else f' (confidence {answer.confidence:.2f})'
  if answer.abstains:
    console.print(Text(f'The corpus does not seem to answer this{confidence}. What comes nearest:', 'bold'))
  else:
    console.print(Text(f'Answer{confidence}', 'bold'))
    if answer.text:
      console.print(answer.text)
    for number, each in enumerate(answer.citations, start=1):
      console.print(marked(textwrap.shorten(each.text, 400)), Text(f'[{number}]', 'cyan'), sep=' ')
    for number, each in enumerate(answer.citations, start=1):
      console.print(Text(f'  [{number}] {each.page_id}, characters {each.start} to {each.end}', 'cyan'))
  console.print()
  for rank, hit in enumerate(distinct(searcher, found)[:shown], start=1):
    page, chunk = searcher.store.page(hit.page), searcher.store.chunk(hit.chunk)
    title = page.title or page.id
    where = f'  {page.id}' if page.id != title else ''
    console.print(Text(f'{rank}. {title}', 'bold'), Text(f'{hit.score:.3f}{where}', 'dim'), sep='  ')
    body = plain_text(page.text[chunk.start : chunk.end], page.format)
    console.print(Text('   '), marked(textwrap.shorten(body, _SNIPPET)), sep='')
  stages = ', '.join(f'{name} {spent:.1f}' for name, spent in found.milliseconds.items())
  console.print(Text(f'{1000 * seconds:.0f} ms in all (search: {stages})', 'dim'))
