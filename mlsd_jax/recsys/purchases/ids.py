"""Ids as text: what one column calls one user or item in two ways is put together, and said."""

import polars as pl

from mlsd_jax.recsys.purchases.numbers import EMPTY

_DECIMAL = r'^-?\d+\.0+$'
_ROUNDED = r'^\d([.,]\d+)?[eE]\+\d+$'  # 5.70123E+12 of a number of 13 digits


def read_ids(rows: pl.LazyFrame, name: str) -> tuple[pl.Expr, tuple[str, ...]]:
  """A column of ids as text without blanks around, and lines on what was done to them.

  Whole numbers became decimals (17850.0) where one was missing in a table of them. Where all ids are so, or an id is
  there both ways, they lose their .0; otherwise they are names. Ids that differ in leading zeros or capitals alone, or
  in no way that can be seen, stay apart, which is said.
  """
  what = name.removesuffix('_id')
  bare = pl.col(name).cast(pl.String)
  ids = rows.group_by(bare.alias('bare')).agg(pl.len().alias('lines')).filter(pl.col('bare').is_not_null())
  known = ids.with_columns(pl.col('bare').str.strip_chars().alias('text')).collect(engine='streaming')
  notes = list(
    _tell(
      known.filter((pl.col('text') != pl.col('bare')) & (pl.col('text') != '')),
      f'{what} ids with blanks around, read without',
    )
  )
  decimals = known.filter(pl.col('text').str.contains(_DECIMAL))
  whole = decimals['text'].str.replace(r'\.0+$', '')
  others = known.filter((pl.col('text') != '') & ~pl.col('text').str.contains(_DECIMAL))['text']
  read = pl.col(name).cast(pl.String).str.strip_chars()
  if decimals.height and (whole.is_in(others.implode()).any() or _say_nothing(others)):
    read = pl.when(read.str.contains(_DECIMAL)).then(read.str.replace(r'\.0+$', '')).otherwise(read)
    if not _say_nothing(others):
      notes += _tell(decimals, f'{what} ids that end in .0 beside others, read without it')
  notes += _tell(
    known.filter(pl.col('text').str.contains(_ROUNDED)),
    f'{what} ids that a spreadsheet rounded, so that several may have become one (export them as text)',
  )
  seen = pl.col('text').str.normalize('NFKC').str.replace_all(r'\p{Cf}', '').str.strip_chars()
  looks = seen.str.to_lowercase().str.replace(r'^0+(\w)', '$1')
  alike = known.select('text').unique().with_columns(looks.alias('looks')).filter(pl.col('looks').is_duplicated())
  if alike.height:
    pair = alike.sort('looks', 'text')['text'].head(2).to_list()
    notes.append(
      f'{what} ids that differ only in leading zeros, capitals or how characters are encoded count as different: '
      f'{alike.height:,}, such as {pair[0]!a} and {pair[1]!a}'
    )
  return read.alias(name), tuple(notes)


def _say_nothing(ids: pl.Series) -> bool:
  return bool(ids.str.to_lowercase().is_in(EMPTY).all())


def _tell(ids: pl.DataFrame, what: str) -> tuple[str, ...]:
  if not ids.height:
    return ()
  return (f'{what}: {ids["lines"].sum():,} lines, such as {ids.sort("bare")["bare"][0]!r}',)
