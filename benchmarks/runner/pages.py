"""Where tables are kept: JSON by machine, and one section of the documentation made from all of them."""

import math
import pathlib
import re

from mlsd_jax import files
from mlsd_jax.errors import UserError

from . import table

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MEASURED = ROOT / 'benchmarks' / 'measured'
PAGE = ROOT / 'docs' / 'explanation' / 'performance.md'
_SECTION = re.compile(r'<!-- benchmarks -->\n.*?<!-- /benchmarks -->', re.DOTALL)


def read(path: pathlib.Path) -> tuple[dict, list[table.Row]]:
  """A table's document and its rows.

  Raises:
    UserError: the file is not there or is no table of `python -m benchmarks`.
  """
  try:
    document = files.read_json(path)
    rows = [table.Row(**row) for row in document['rows']]
    if not rows or not all(map(_is_whole, rows)) or not isinstance(document['versions'], dict):
      raise ValueError('no rows, or figures that are none')
    return document | {'machine': str(document['machine']), 'date': str(document['date'])}, rows
  except (OSError, TypeError, KeyError, ValueError, AttributeError) as error:
    raise UserError(f'{path} is no table of python -m benchmarks: {error}') from error


def _is_whole(row: table.Row) -> bool:
  texts, figures = (
    (row.pair, row.what, row.against, row.unit),
    (row.ours, row.peer, row.ratio, row.low, row.high, row.others),
  )
  figures += () if row.of_limit is None else (row.of_limit,)
  return all(isinstance(each, str) for each in texts) and all(
    isinstance(each, int | float) and math.isfinite(each) for each in figures
  )


def section() -> str:
  """All machines' tables, each with its date and versions, in Markdown."""
  parts = []
  for path in sorted(MEASURED.glob('*.json')):
    document, rows = read(path)
    versions = ', '.join(f'{name} {version}' for name, version in document['versions'].items())
    others = max(row.others for row in rows)
    busy = f' Others used up to {others:.0%} of it: ratios are soft.' if others > 0.1 else ''
    parts.append(f'### {document["machine"]}\n\n{document["date"]}, {versions}.{busy}\n\n{table.markdown(rows)}')
  return '\n\n'.join(parts) or 'No machine has been measured yet.'


def filled(text: str) -> str:
  """A page with the tables between its markers."""
  return _SECTION.sub(lambda _: f'<!-- benchmarks -->\n\n{section()}\n\n<!-- /benchmarks -->', text)


def write() -> None:
  """Writes the tables into the documentation."""
  files.write_text(PAGE, filled(PAGE.read_text()))
