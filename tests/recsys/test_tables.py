"""Tables of purchases as shops export them."""

import polars as pl
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import funnel, snapshot, splits, tables

COLUMNS = {'user_id': 'who', 'item_id': 'what', 'time': 'when'}


def _table(folder, separator=',', suffix='csv', **changed):
  rows = {'who': ['01', '2', '2'], 'what': ['x', 'y', 'x'], 'when': ['2020-01-01', '2020-02-01', '2020-03-01']}
  path = folder / f'log.{suffix}'
  table = pl.DataFrame(rows | changed)
  if suffix == 'parquet':
    table.write_parquet(path)
  else:
    table.write_csv(path, separator=separator)
  return path


@pytest.mark.parametrize('separator', [',', ';', '\t', '|'])
def test_the_separator_is_found_out(tmp_path, separator):
  data = tables.table(_table(tmp_path, separator, kind=['k', 'k', 'l']), COLUMNS, ('kind',))
  assert (data.num_users, data.num_items, data.categories) == (2, 2, ('kind',))
  assert data.users['id'].to_list() == ['01', '2']  # text: no zero is lost
  assert data.notes == ()


def test_csv_and_parquet_give_the_same(tmp_path):
  of = lambda suffix: tables.table(_table(tmp_path, suffix=suffix, price=[1.5, 2.0, 3.0]), COLUMNS)
  assert of('csv').events.equals(of('parquet').events)


@pytest.mark.parametrize('suffix', ['csv', 'parquet'])
def test_ids_that_became_decimals_are_whole_again(tmp_path, suffix):
  data = tables.table(_table(tmp_path, suffix=suffix, who=[17850.0, None, 3.0], what=['1.0', '7', '7']), COLUMNS)
  assert data.users['id'].to_list() == ['17850', '3']
  assert data.items['id'].to_list() == ['1.0', '7']  # not all are decimals: they are names
  assert data.notes == ('left out: 1 of 3 lines, without a user',)


def test_columns_of_our_names_need_not_be_told(tmp_path):
  path = tmp_path / 'log.csv'
  path.write_text('\ufeffuser_id,item_id,time,price,name\na,x,2020-01-01,2,Ex\nb,y,2020-01-02,3,Why\n')
  data = tables.table(path, dict.fromkeys(tables.COLUMNS, ''))
  assert data.events['price'].to_list() == [2.0, 3.0]
  assert data.items['name'].to_list() == ['Ex', 'Why']


def test_numbers_as_people_write_them(tmp_path):
  prices = ['1.234,50', '$2.50', 'NaN', '1,234.50', '3,5', '-4', '', '€ 7']
  path = _table(
    tmp_path, ';', who=['a'] * 8, what=['x'] * 8, when=[f'2020-01-0{day}' for day in range(1, 9)], cost=prices
  )
  data = tables.table(path, COLUMNS | {'price': 'cost'})
  assert data.events['price'].to_list() == [1234.5, 2.5, 0.0, 1234.5, 3.5, 0.0, 0.0, 7.0]


def test_what_is_left_out_is_told(tmp_path):
  path = _table(
    tmp_path,
    who=['a', '', 'nan', 'b', 'b'],
    what=['x', 'x', 'y', ' ', 'y'],
    when=['2020-01-01'] * 5,
    units=['1', '1', '1', '1', '-2'],
  )
  data = tables.table(path, COLUMNS | {'quantity': 'units'})
  assert data.events.height == 1
  assert data.notes == (
    'left out: 2 of 5 lines, without a user',
    'left out: 1 of 5 lines, without a item',
    'left out: 1 of 5 lines, of no or a negative quantity',
  )


def test_equal_rows_count_twice_and_order_does_not_matter(tmp_path):
  twice = {'who': ['b', 'a', 'a'], 'what': ['y', 'x', 'x'], 'when': ['2020-03-01', '2020-01-01', '2020-01-01']}
  data = tables.table(_table(tmp_path, **twice), COLUMNS)
  assert data.events['user'].to_list() == [0, 0, 1]


def test_an_item_has_its_first_category_that_is_there(tmp_path):
  data = tables.table(_table(tmp_path, kind=[None, 'l', 'k']), COLUMNS, ('kind',))
  assert data.items['kind'].to_list() == ['k', 'l']


@pytest.mark.parametrize(
  ('columns', 'message'),
  [
    (COLUMNS | {'user_id': 'whom'}, "no column 'whom'; it has who, what, when"),
    (COLUMNS | {'colour': 'what'}, r'columns\.colour is not one of user_id'),
    ({'user_id': 'who', 'item_id': 'what'}, r'say which column is the time: --config\.data\.columns\.time='),
    (COLUMNS | {'time': 'what'}, "3 of 3 events have no time that can be read, such as 'x'"),
  ],
)
def test_what_is_wrong_is_told(tmp_path, columns, message):
  with pytest.raises(UserError, match=message):
    tables.table(_table(tmp_path), columns)


def test_files_that_cannot_be_read(tmp_path):
  with pytest.raises(UserError, match='no such file'):
    tables.table(tmp_path / 'other.csv', COLUMNS)
  (tmp_path / 'shop.xlsx').write_bytes(b'PK')
  with pytest.raises(UserError, match='is a spreadsheet: save it as CSV first'):
    tables.table(tmp_path / 'shop.xlsx', COLUMNS)
  (tmp_path / 'none.csv').write_text('')
  with pytest.raises(UserError, match='is empty: its first line must name the columns'):
    tables.table(tmp_path / 'none.csv', COLUMNS)
  (tmp_path / 'head.csv').write_text('who,what,when\n')
  with pytest.raises(UserError, match='has no events'):
    tables.table(tmp_path / 'head.csv', COLUMNS)


def test_a_week_without_purchases_is_a_week_of_nothing(tmp_path):
  days = ['2019-11-29', '2019-11-30', *(f'2020-01-{day:02d}' for day in (1, 2, 4, 28, 29, 30, 31))]
  rows = {'who': ['a'] * 9, 'what': list('xyxyzxyzx'), 'when': days}
  data = tables.table(_table(tmp_path, **rows), COLUMNS)
  cuts = splits.cuts(data, 3)
  assert [len(splits.targets(data, cut).item) for cut in cuts] == [3, 0, 0]
  assert funnel.weeks_of(data, 3) == [cuts[0], splits.cuts(data, 4)[3]]
  with pytest.raises(UserError, match='nothing was bought in the 2 weeks before the one held out'):
    funnel.weeks_of(data, 2)
  taken = snapshot.take(data, cuts[1])
  assert taken.column('item', 'n7').sum() == 0
  assert taken.column('item', 'n30').sum() == 3
