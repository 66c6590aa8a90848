"""An answer on the terminal: sentences with their citations, then the pages found."""

import textwrap

from mlsd_jax.printable import as_text
from mlsd_jax.retrieval.answers import Answer, distinct
from mlsd_jax.retrieval.as_typed import Marker, Speller, facets
from mlsd_jax.retrieval.chunking import plain_span
from mlsd_jax.retrieval.search import Found, Searcher

_CITED = 400  # characters
_FOLDERS = 8


def show(searcher: Searcher, query: str, found: Found, answer: Answer, *, shown: int, seconds: float) -> None:
  """Prints an answer; words of the query stand out on a terminal."""
  from rich.console import Console

  console = Console(highlight=False, soft_wrap=True, markup=False)
  marker = Marker(query)

  def marked(text: str) -> object:
    line = as_text(text)
    for start, end in marker.marks(line.plain):
      line.stylize('bold yellow', start, end)
    return line

  if meant := Speller(searcher.store).suggest(query):
    console.print(as_text(f'Did you mean: {meant}', 'bold'))

  confidence = '' if answer.confidence is None else f' (confidence {answer.confidence:.2f})'
  if answer.abstains:
    console.print(as_text(f'The corpus does not seem to answer this{confidence}. What comes nearest:', 'bold'))
  else:
    console.print(as_text(f'Answer{confidence}', 'bold'))
    if answer.text:
      console.print(as_text(answer.text))
    if answer.dropped:
      left_out = f'({len(answer.dropped)} of what was written left out: the sources that it cites do not say it)'
      console.print(as_text(left_out, 'dim'))
    for number, each in enumerate(answer.citations, start=1):
      console.print(marked(_shorten(each.text, _CITED)), as_text(f'[{number}]', 'cyan'), sep=' ')
    for number, each in enumerate(answer.citations, start=1):
      console.print(as_text(f'  [{number}] {each.page_id}, characters {each.start} to {each.end}', 'cyan'))
  console.print()
  for rank, hit in enumerate(distinct(searcher, found)[:shown], start=1):
    page, chunk = searcher.store.page(hit.page), searcher.store.chunk(hit.chunk)
    title = page.title or page.id
    where = f'  {page.id}' if page.id != title else ''
    console.print(as_text(f'{rank}. {title}', 'bold'), as_text(f'{hit.score:.3f}{where}', 'dim'), sep='  ')
    body = plain_span(page, chunk.start, chunk.end)
    console.print(as_text('   '), marked(marker.snippet(body).text), sep='')
  if folders := facets(searcher.store, found.hits):
    named = ', '.join(f'{name} ({number})' for name, number in folders[:_FOLDERS])
    console.print(as_text(f'in {named}' + (', ...' if len(folders) > _FOLDERS else ''), 'dim'))
  stages = ', '.join(f'{name} {spent:.1f}' for name, spent in found.milliseconds.items())
  console.print(as_text(f'{1000 * seconds:.0f} ms in all (search: {stages})', 'dim'))


def _shorten(text: str, most: int) -> str:
  """At most so many characters; code keeps its lines, and a text without spaces is cut between characters."""
  if len(text) <= most:
    return text
  short = textwrap.shorten(text, most) if '\n' not in text else ''
  return short if len(short) > most // 2 else f'{text[: most - 6].rstrip()} [...]'
