"""Public purchases and ratings, by their columns: ta_feng, online_retail or ml_100k after the colon.

python -m experiments.recsys --config=configs/recsys/public.py:ta_feng --config.data.path=ta_feng.csv.zip
python -m experiments.recsys --config=configs/recsys/public.py:online_retail --config.data.path=online_retail.parquet
python -m experiments.recsys --config=configs/recsys/public.py:ml_100k --config.data.path=u.data

Where each file is to be had: docs/how-to/your_own_purchases.md.

Measured, to their end (AMD EPYC, one core, shared with other work; minutes by the clock and of processor time):

                 MAP@12                                    calibration
                 ranker   blend   repurchase + popular           error   minutes           MB
  ta_feng        0.1028   0.1005                0.0680           13.4%   19.7, 14.1     9,596
  online_retail  0.2415   0.2245                0.1883            3.5%   17.9,  8.2     3,411
  ml_100k        0.2409   0.2208                0.1522           30.3%    8.5,  3.5     1,802

Before new users could get a source's order (funnel.newcomers); not run again since. All sources and segments of users:
docs/reference/figures.md, docs/notes/recsys.md.
"""

from configs.recsys._base import base

TABLES = {
  'ta_feng': {
    'columns': {
      'user_id': 'CUSTOMER_ID',
      'item_id': 'PRODUCT_ID',
      'time': 'TRANSACTION_DT',
      'price': 'SALES_PRICE',
      'quantity': 'AMOUNT',
    },
    'categories': 'PRODUCT_SUBCLASS',
  },
  'online_retail': {
    'columns': {
      'user_id': 'CustomerID',
      'item_id': 'Description',  # the copy has no stock codes
      'time': 'InvoiceDate',
      'price': 'UnitPrice',
      'quantity': 'Quantity',
      'place': 'Country',
    },
  },
  'ml_100k': {},
}


def get_config(table: str = 'ta_feng'):
  """`table`: one of TABLES."""
  if table not in TABLES:
    raise ValueError(f'{table} is not one of {", ".join(TABLES)}')
  config = base()
  config.data.source = 'table'
  config.data.update(TABLES[table])
  return config
