"""Tables of purchases as shops export them."""

import datetime
import gzip
import zipfile

import numpy as np
import polars as pl
import pytest
import xlsxwriter

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import own_table, weeks
from mlsd_jax.recsys.purchases.own_table import Reading

COLUMNS = {'user_id': 'who', 'item_id': 'what', 'time': 'when'}
OLD = datetime.datetime(2010, 12, 2, 8)


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
  data = own_table.read_table(_table(tmp_path, separator, kind=['k', 'k', 'l']), COLUMNS, ('kind',))
  assert (data.num_users, data.num_items, data.categories) == (2, 2, ('kind',))
  assert data.users['id'].to_list() == ['01', '2']  # text: no zero is lost
  assert data.notes == ()


@pytest.mark.parametrize('form', ['the first Macintosh', 'a separator that is said', 'both'])
def test_what_spreadsheets_write_around_a_table_is_read(tmp_path, form):
  plain = _table(tmp_path, ';', kind=['k', 'k, l', 'l']).read_text()
  text = plain if form == 'the first Macintosh' else f'sep=;\n{plain}'
  path = tmp_path / 'log.csv'
  path.write_bytes((text if form == 'a separator that is said' else text.replace('\n', '\r')).encode())
  data = own_table.read_table(path, COLUMNS, ('kind',))
  assert (data.num_users, data.num_items, data.notes) == (2, 2, ())
  (tmp_path / 'plain.csv').write_text(plain)
  assert data.events.equals(own_table.read_table(tmp_path / 'plain.csv', COLUMNS, ('kind',)).events)


@pytest.mark.parametrize('nothing', ['#N/A', r'\N', '<NA>', 'N/A', '#REF!', 'NaN'])
def test_an_id_that_says_nothing_is_no_user(tmp_path, nothing):
  data = own_table.read_table(_table(tmp_path, who=['1', nothing, '3']), COLUMNS)
  assert data.users['id'].to_list() == ['1', '3']
  assert data.notes == ('left out: 1 of 3 lines, without a user',)


def test_ids_that_a_spreadsheet_rounded_are_told(tmp_path):
  data = own_table.read_table(_table(tmp_path, what=['5.70123E+12', '5.70123E+12', '5701230000000']), COLUMNS)
  assert data.num_items == 2
  assert data.notes == (
    'item ids that a spreadsheet rounded, so that several may have become one (export them as text): '
    "2 lines, such as '5.70123E+12'",
  )


def test_csv_and_parquet_give_the_same(tmp_path):
  of = lambda suffix: own_table.read_table(_table(tmp_path, suffix=suffix, price=[1.5, 2.0, 3.0]), COLUMNS)
  assert of('csv').events.equals(of('parquet').events)


@pytest.mark.parametrize('suffix', ['csv', 'parquet'])
def test_ids_that_became_decimals_are_whole_again(tmp_path, suffix):
  data = own_table.read_table(
    _table(tmp_path, suffix=suffix, who=[17850.0, None, 3.0], what=['1.0', '7', '7']), COLUMNS
  )
  assert data.users['id'].to_list() == ['17850', '3']
  assert data.items['id'].to_list() == ['1.0', '7']  # not all are decimals: they are names
  assert data.notes == ('left out: 1 of 3 lines, without a user',)


def test_columns_of_our_names_need_not_be_told(tmp_path):
  path = tmp_path / 'log.csv'
  path.write_text('\ufeffuser_id,item_id,time,price,name\na,x,2020-01-01,2,Ex\nb,y,2020-01-02,3,Why\n')
  data = own_table.read_table(path, dict.fromkeys(own_table.COLUMNS, ''))
  assert data.events['price'].to_list() == [2.0, 3.0]
  assert data.items['name'].to_list() == ['Ex', 'Why']


def _priced(folder, prices, decimal=''):
  count = len(prices)
  days = [f'2020-01-{1 + day % 28:02d}' for day in range(count)]
  path = _table(folder, ';', who=['a'] * count, what=['x'] * count, when=days, cost=prices)
  return own_table.read_table(path, COLUMNS | {'price': 'cost'}, (), Reading(decimal))


def test_the_decimal_sign_is_decided_for_the_whole_column(tmp_path):
  data = _priced(tmp_path, ['1.299', 'NaN', '2.549,00', '-4', '', '€ 7', 'free'])
  assert data.events['price'].to_list() == [1299.0, 0.0, 2549.0, 0.0, 0.0, 7.0, 0.0]
  assert data.notes == (
    "price that is no number, so not known: 1 of 7 lines, such as 'free'",
    'price of 0 or below, so not known: 1 of 7 lines, such as -4',
  )
  with pytest.raises(
    UserError, match=r"price '1\.299' may be 1\.299 or 1299, .*--config\.data\.decimal=point or =comma"
  ):
    _priced(tmp_path, ['1.299', '7'])
  assert _priced(tmp_path, ['1.299', '7'], 'point').events['price'].to_list() == pytest.approx([1.299, 7])
  with pytest.raises(
    UserError, match=r"decimal point in some lines \('2\.50'\) and with a decimal comma in others \('3,5'\)"
  ):
    _priced(tmp_path, ['2.50', '3,5'])
  with pytest.raises(UserError, match="price has no number that can be read, such as 'cheap', 'dear'"):
    _priced(tmp_path, ['cheap', 'dear'])


def _workbook(path, sheets):
  with xlsxwriter.Workbook(path, {'default_date_format': 'yyyy-mm-dd hh:mm'}) as book:
    for name, rows in sheets.items():
      sheet = book.add_worksheet(name)
      for number, row in enumerate(rows):
        sheet.write_row(number, 0, row)


def test_sheets_of_a_workbook_are_what_the_same_rows_are_as_csv(tmp_path):
  head = ['who', 'what', 'when', 'paid', 'units']
  old = [[17850, '85123A', datetime.datetime(2010, 12, 1, 8, 26), 2.55, 6], [17850, 71053, OLD, 3.39, 2]]
  new = [[None, 71053, OLD, 1, 1], [13047, 71053, datetime.datetime(2011, 12, 9, 12, 50), 0.1 + 0.2, 1]]
  sheets = {'notes': [['of', 'interest']], '2009': [head, *old], '2010': [head, *new]}
  _workbook(tmp_path / 'shop.xlsx', sheets)
  text = [','.join('' if cell is None else str(cell) for cell in row) for row in [head, *old, *new]]
  (tmp_path / 'shop.csv').write_text('\n'.join(text))
  columns = COLUMNS | {'price': 'paid', 'quantity': 'units'}
  book, csv = (own_table.read_table(tmp_path / f'shop.{kind}', columns) for kind in ('xlsx', 'csv'))
  assert book.events.equals(csv.events)
  assert book.users.equals(csv.users)
  assert book.items.equals(csv.items)
  assert book.notes == csv.notes == ('left out: 1 of 4 lines, without a user',)


def _archive(path, *held):
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    for name, content in held:
      archive.writestr(name, content)
  return path


@pytest.mark.parametrize('suffix', ['csv', 'csv.gz', 'parquet', 'xlsx'])
def test_a_table_in_an_archive_is_the_table(tmp_path, suffix):
  bare = _table(tmp_path)
  packed = tmp_path / f'log.{suffix}'
  if suffix == 'csv.gz':
    packed.write_bytes(gzip.compress(bare.read_bytes()))
  elif suffix == 'xlsx':
    _workbook(packed, {'log': [line.split(',') for line in bare.read_text().splitlines()]})
  elif suffix == 'parquet':
    _table(tmp_path, suffix=suffix)
  held = [('__MACOSX/log.csv', 'x'), ('LICENSE', 'free'), (f'shop/log.{suffix}', packed.read_bytes())]
  data = own_table.read_table(_archive(tmp_path / 'Kaggle.ZIP', *held), COLUMNS)
  plain = own_table.read_table(bare, COLUMNS)
  assert data.events.equals(plain.events)
  assert data.users.equals(plain.users)
  assert data.items.equals(plain.items)


def test_archives_that_cannot_be_read(tmp_path):
  several = _archive(tmp_path / 'several.zip', ('a.csv', 'who'), ('b.csv', 'who'))
  with pytest.raises(UserError, match=r'is to hold one table, and holds a\.csv, b\.csv: unpack it and name the file'):
    own_table.read_table(several, COLUMNS)
  with pytest.raises(UserError, match=r'is to hold one table, and holds photo\.jpg: '):
    own_table.read_table(_archive(tmp_path / 'none.zip', ('photo.jpg', 'x')), COLUMNS)
  content = bytearray(several.read_bytes())
  (tmp_path / 'cut.zip').write_bytes(content[:40])
  with pytest.raises(UserError, match=r'cut\.zip cannot be unpacked: '):
    own_table.read_table(tmp_path / 'cut.zip', COLUMNS)
  whole = _archive(tmp_path / 'whole.zip', ('a.csv', 'who,what,when\n' + 'a,b,2020-01-01\n' * 99)).read_bytes()
  (tmp_path / 'flipped.zip').write_bytes(whole[:60] + bytes([whole[60] ^ 255]) + whole[61:])
  with pytest.raises(UserError, match=r'flipped\.zip cannot be unpacked: '):
    own_table.read_table(tmp_path / 'flipped.zip', COLUMNS)
  several.rename(tmp_path / 'several.csv')
  with pytest.raises(UserError, match='is no text in UTF-8'):
    own_table.read_table(tmp_path / 'several.csv', COLUMNS)


def test_what_is_left_out_is_told(tmp_path):
  path = _table(
    tmp_path,
    who=['a', '', 'nan', 'b', 'b'],
    what=['x', 'x', 'y', ' ', 'y'],
    when=['2020-01-01'] * 5,
    units=['1', '1', '1', '1', '-2'],
  )
  data = own_table.read_table(path, COLUMNS | {'quantity': 'units'})
  assert data.events.height == 1
  assert data.notes == (
    'left out: 2 of 5 lines, without a user',
    'left out: 1 of 5 lines, without a item',
    'left out: 1 of 5 lines, of no or a negative quantity',
  )


def test_equal_rows_count_twice_and_order_does_not_matter(tmp_path):
  twice = {'who': ['b', 'a', 'a'], 'what': ['y', 'x', 'x'], 'when': ['2020-03-01', '2020-01-01', '2020-01-01']}
  data = own_table.read_table(_table(tmp_path, **twice), COLUMNS)
  assert data.events['user'].to_list() == [0, 0, 1]


def test_an_item_has_its_first_category_that_is_there(tmp_path):
  data = own_table.read_table(_table(tmp_path, kind=[None, 'l', 'k']), COLUMNS, ('kind',))
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
    own_table.read_table(_table(tmp_path), columns)


def test_what_is_no_number_is_told(tmp_path):
  path = _table(tmp_path, paid=['3.50', 'free', None], units=['1', '2', '3'])
  data = own_table.read_table(path, COLUMNS | {'price': 'paid', 'quantity': 'units'})
  assert data.notes == ("price that is no number, so not known: 1 of 3 lines, such as 'free'",)


def test_a_name_may_be_a_category_too(tmp_path):
  path = _table(tmp_path, name=['k', 'l', 'k'])
  data = own_table.read_table(path, COLUMNS, ('name', 'name'))
  assert data.categories == ('name',)
  assert data.items['name'].to_list() == ['k', 'l']
  with pytest.raises(UserError, match="cannot be called 'id'"):
    own_table.read_table(path, COLUMNS, ('id',))


def test_files_that_cannot_be_read(tmp_path):
  with pytest.raises(UserError, match='no such file'):
    own_table.read_table(tmp_path / 'other.csv', COLUMNS)
  (tmp_path / 'shop.xlsx').write_bytes(b'PK')
  with pytest.raises(UserError, match=r'shop\.xlsx cannot be read as a workbook: .*invalid Zip archive'):
    own_table.read_table(tmp_path / 'shop.xlsx', COLUMNS)
  _workbook(tmp_path / 'empty.xlsx', {'sheet': []})
  with pytest.raises(UserError, match=r'empty\.xlsx is empty'):
    own_table.read_table(tmp_path / 'empty.xlsx', COLUMNS)
  (tmp_path / 'none.csv').write_text('')
  with pytest.raises(UserError, match=r'none\.csv is empty$'):
    own_table.read_table(tmp_path / 'none.csv', COLUMNS)
  (tmp_path / 'blank.csv').write_text('\nwho,what,when\n')
  with pytest.raises(UserError, match='line 1 is empty, and is to name the columns'):
    own_table.read_table(tmp_path / 'blank.csv', COLUMNS)
  for content in (b'', b'no Parquet at all'):
    (tmp_path / 'own.parquet').write_bytes(content)
    with pytest.raises(UserError, match=r'own\.parquet cannot be read as Parquet'):
      own_table.read_table(tmp_path / 'own.parquet', COLUMNS)
  (tmp_path / 'head.csv').write_text('who,what,when\n')
  with pytest.raises(UserError, match='has no events'):
    own_table.read_table(tmp_path / 'head.csv', COLUMNS)


def test_a_week_without_purchases_is_a_week_of_nothing(tmp_path):
  days = ['2019-11-29', '2019-11-30', *(f'2020-01-{day:02d}' for day in (1, 2, 4, 28, 29, 30, 31))]
  rows = {'who': ['a'] * 9, 'what': list('xyxyzxyzx'), 'when': days}
  data = own_table.read_table(_table(tmp_path, **rows), COLUMNS)
  cuts = weeks.list_cuts(data, 3)
  assert [len(weeks.find_targets(data, cut).item) for cut in cuts] == [3, 0, 0]
  assert weeks.choose_cuts(data, 3) == [cuts[0], weeks.list_cuts(data, 4)[3]]
  with pytest.raises(UserError, match='nothing was bought in the 2 weeks before the one held out'):
    weeks.choose_cuts(data, 2)
  taken = snapshot.take(data, cuts[1])
  assert taken.column('item', 'n7').sum() == 0
  assert taken.column('item', 'n30').sum() == 3


def _text(folder, text, encoding='utf-8'):
  path = folder / 'log.csv'
  path.write_bytes(text.encode(encoding) if isinstance(text, str) else text)
  return path


@pytest.mark.parametrize(('encoding', 'note'), [('latin-1', 'was read as Windows-1252'), ('utf-16', 'read as UTF-16')])
def test_ids_of_another_encoding_stay_apart_and_it_is_said(tmp_path, encoding, note):
  path = _text(tmp_path, 'who,what,when\nJosé,x,2020-01-01\nJosè,x,2020-01-02\n', encoding)
  data = own_table.read_table(path, COLUMNS)
  assert data.users['id'].to_list() == ['Josè', 'José']
  assert note in data.notes[0]


def test_a_file_of_two_encodings_is_refused_with_the_line(tmp_path):
  path = _text(tmp_path, 'who,what,when\nJosé,x,2020-01-01\n'.encode() + 'Josè,x,2020-01-02\n'.encode('latin-1'))
  with pytest.raises(UserError, match=r'log\.csv, line 3 is no UTF-8, and others are'):
    own_table.read_table(path, COLUMNS)


@pytest.mark.parametrize(
  ('rows', 'line', 'fields'),
  [
    ('a,x,2020-01-01\nb,y,z,2020-01-02\n', 3, '4 fields'),
    ('a,x,2020-01-01\n\nb,y\n', 4, '2 fields'),
    ('a,"x\ny",2020-01-01\nb\n', 4, '1 field'),
    ('a,"x, y",2020-01-01\nb,y,\nc,2020-01-01\n', 4, '2 fields'),
  ],
)
def test_a_row_with_other_fields_than_the_first_is_refused_with_its_line(tmp_path, rows, line, fields):
  path = _text(tmp_path, 'who,what,when\n' + rows)
  with pytest.raises(UserError, match=f'line {line} has {fields}, and the first line names 3 columns'):
    own_table.read_table(path, COLUMNS)


def test_quotation_marks(tmp_path):
  with pytest.raises(UserError, match='line 3: a quotation mark does not close'):
    own_table.read_table(_text(tmp_path, 'who,what,when\na,x,2020-01-01\nb,"x,2020-01-01\n'), COLUMNS)
  path = _text(tmp_path, 'who,what,when\na,19" screen,2020-01-01\nb,"x, y",2020-01-01\n"c","""z""",2020-01-02\n')
  assert own_table.read_table(path, COLUMNS).items['id'].to_list() == ['"z"', '19" screen', 'x, y']


@pytest.mark.parametrize(
  ('text', 'columns'),
  [
    ('196\t242\t881250949\n186\t302\t891717742\n', COLUMNS),
    ('a,x,2020-01-01\nb,y,2020-01-02\n', COLUMNS),
    ('a,x,2020-01-01\nb,y,2020-01-02\n', {'user_id': 'a', 'item_id': 'x', 'time': '2020-01-01'}),
    ('a,x,2020-01-01\nb,y,2020-01-02\n', {}),
  ],
)
def test_a_file_without_a_header_is_told_so(tmp_path, text, columns):
  with pytest.raises(UserError, match='has no line that names its columns: the first is '):
    own_table.read_table(_text(tmp_path, text), columns)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
  with pytest.raises(UserError, match="two columns called 'who'"):
    own_table.read_table(_text(tmp_path, 'who,who,what,when\na,b,x,2020-01-01\n'), COLUMNS)


def test_ids_written_in_two_ways_are_one_and_it_is_said(tmp_path):
  who = ['1.0', '1', '2', '3.0', ' 2']
  data = own_table.read_table(_table(tmp_path, who=who, what=list('xyxyx'), when=['2020-01-01'] * 5), COLUMNS)
  assert data.users['id'].to_list() == ['1', '2', '3']
  assert data.notes == (
    "user ids with blanks around, read without: 1 lines, such as ' 2'",
    "user ids that end in .0 beside others, read without it: 2 lines, such as '1.0'",
  )


@pytest.mark.parametrize(
  ('first', 'second'),
  [
    ('017', '17'),
    ('85123A', '85123a'),
    ('Jose\u0301', 'Jos\u00e9'),  # a letter and its accent, or both in one character
    ('a1', 'a1\u200b'),  # a blank of no width
    ('12', '\uff11\uff12'),  # digits as wide as Chinese characters
  ],
)
def test_ids_that_look_alike_stay_apart_and_it_is_said(tmp_path, first, second):
  data = own_table.read_table(_table(tmp_path, what=[first, second, 'z']), COLUMNS)
  assert data.num_items == 3
  assert data.notes == (
    'item ids that differ only in leading zeros, capitals or how characters are encoded count as different: 2, '
    f'such as {first!a} and {second!a}',
  )


@pytest.mark.parametrize('zero', ['0', '00000000', '0000-00-00'])
def test_a_time_of_zero_is_left_out_and_counted(tmp_path, zero):
  data = own_table.read_table(_table(tmp_path, when=['20200101', zero, '20200301']), COLUMNS)
  assert [weeks.day(time).astype(str) for time in data.events['time']] == ['2020-01-01', '2020-03-01']
  assert data.notes == ('left out: 1 of 3 lines, with a time of 0, which says nothing',)


def test_ratings_become_events_from_a_threshold_on(tmp_path):
  path = _table(tmp_path, rating=['4,5', '3,0', ''])
  every = own_table.read_table(path, COLUMNS)
  assert every.events.height == 3
  assert every.notes[0].startswith("column 'rating': every line counts, whatever it says")
  data = own_table.read_table(path, COLUMNS, (), Reading(min_rating=4.0))
  assert data.items['id'].to_list() == ['x']
  assert data.notes == ('left out: 1 of 3 lines, without a rating', 'left out: 1 of 3 lines, rated below 4')
  with pytest.raises(UserError, match=r'also requires --config\.data\.min_rating='):
    own_table.read_table(path, COLUMNS | {'rating': 'rating'})
  with pytest.raises(UserError, match='min_rating requires a column of ratings'):
    own_table.read_table(_table(tmp_path), COLUMNS, (), Reading(min_rating=4.0))


def movielens(folder, name, ratings):
  """A file of ratings [(user, item, stars, second)] as MovieLens has them by that name."""
  separator = {'u.data': '\t', 'ratings.dat': '::', 'ratings.csv': ','}[name]
  lines = [separator.join(map(str, row)) for row in ratings]
  names = ['userId,movieId,rating,timestamp'] if name == 'ratings.csv' else []
  path = folder / name
  path.write_text('\n'.join([*names, *lines]) + '\n')
  return path


def ratings_of(seed, half):
  """Of 40 users, who rate each film once, within a year; half stars in the later collections."""
  rng = np.random.default_rng(seed)
  stars = rng.integers(1, 11, 1200) / 2 if half else rng.integers(1, 6, 1200)
  pairs = rng.permutation(40 * 60)[:1200]
  seconds = rng.integers(874_724_710, 893_286_638, 1200)
  return [
    (p // 60 + 1, p % 60 + 1, s, t) for p, s, t in zip(pairs.tolist(), stars.tolist(), seconds.tolist(), strict=True)
  ]


@pytest.mark.parametrize('half', [False, True])
def test_ratings_in_each_of_movielens_forms_are_the_same(tmp_path, half):
  ratings = ratings_of(0, half)
  names = {'user_id': 'userId', 'item_id': 'movieId', 'rating': 'rating', 'time': 'timestamp'}
  read = lambda name, reading: own_table.read_table(
    movielens(tmp_path, name, ratings), names if name == 'ratings.csv' else {}, (), reading
  )
  liked, every = Reading(min_rating=4.0), Reading(ratings=True)
  for reading, kept in ((liked, [row for row in ratings if row[2] >= 4]), (every, ratings)):
    found = [read(name, reading) for name in ('u.data', 'ratings.dat', 'ratings.csv')]
    for data in found:
      assert data.events.height == len(kept)
      assert data.events.equals(found[0].events)
      assert data.users['id'].to_list() == found[0].users['id'].to_list()
      assert sorted(data.items['id']) == sorted({str(row[1]) for row in kept})
    assert [any('as MovieLens has it' in note for note in data.notes) for data in found] == [True, True, False]
  assert sorted(found[0].events['rating'].to_list()) == sorted(row[2] for row in ratings)


@pytest.mark.parametrize(
  ('name', 'line', 'number'), [('u.data', '3\t4\t5', 6), ('ratings.dat', '3::4::5', 6), ('ratings.csv', '3,4,5', 7)]
)
def test_a_rating_that_is_cut_short_is_named(tmp_path, name, line, number):
  path = movielens(tmp_path, name, ratings_of(0, half=False)[:5])
  path.write_text(path.read_text() + line + '\n')
  with pytest.raises(UserError, match=f'line {number} has 3 fields'):
    own_table.read_table(path, {}, (), Reading(ratings=True))


@pytest.mark.parametrize('name', ['u.data', 'ratings.dat'])
@pytest.mark.parametrize('number', [1, 4])
@pytest.mark.parametrize(('field', 'what'), [(2, 'rating'), (3, 'time')])
@pytest.mark.parametrize('value', ['nan', '', 'x', '-1'])
def test_a_rating_that_is_none_is_named_by_its_line(tmp_path, name, number, field, what, value):
  rows = [[*row] for row in ratings_of(0, half=False)[:5]]
  rows[number - 1][field] = value
  with pytest.raises(UserError, match=f'{name}, line {number}: {value!r} is no {what}'):
    own_table.read_table(movielens(tmp_path, name, rows), {}, (), Reading(ratings=True))


@pytest.mark.parametrize('suffix', ['csv.gz', 'zip', 'xlsx'])
def test_a_table_that_unpacks_to_too_much_is_not_unpacked(tmp_path, monkeypatch, suffix):
  rows = 'who,what,when\n' + 'a,b,2020-01-01\n' * 99
  path = tmp_path / f'bomb.{suffix}'
  if suffix == 'csv.gz':
    path.write_bytes(gzip.compress(rows.encode()))
  elif suffix == 'zip':
    _archive(path, ('a.csv', rows))
  else:
    pl.read_csv(rows.encode()).write_excel(path)
  monkeypatch.setattr('mlsd_jax.reading.text.most_unpacked', lambda _: 1000)
  with pytest.raises(UserError, match=r'bomb.*unpacks to'):
    own_table.read_table(path, COLUMNS)
