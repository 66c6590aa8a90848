"""Generated purchases written as the three files of Kaggle's H&M: its form and size, for who does not have them.

    python benchmarks/recsys_hm_files.py --folder=FOLDER --scale=1.0
    python -m experiments.recsys --config=configs/recsys/hm.py --config.data.path=FOLDER

At scale 1: 1,371,980 customers, 105,542 articles, 31.8 M transactions, 3.4 GB.
"""

import argparse
import hashlib
import pathlib
import time

import numpy as np
import polars as pl
import recsys_made as made

from mlsd_jax import files
from mlsd_jax.recsys.purchases import readers


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--folder', type=pathlib.Path, required=True)
  parser.add_argument('--scale', type=float, default=0.1, help='of 1,371,980 customers; articles are always 105,542')
  options = parser.parse_args()
  options.folder.mkdir(parents=True, exist_ok=True)
  began = time.perf_counter()
  data = made.make_dataset(options.scale)
  made.tell(f'{data.events.height:,} purchases of {data.num_users:,} users generated', began)

  began = time.perf_counter()
  rng, users = np.random.default_rng(0), data.num_users
  names = pl.Series('customer_id', [hashlib.sha256(str(user).encode()).hexdigest() for user in range(users)])
  drawn = lambda values, number: pl.Series(rng.choice(np.array(values), number))
  customers = {'customer_id': names, 'age': drawn([str(age) for age in range(17, 80)], users)}
  customers |= {'club_member_status': drawn(['ACTIVE', 'PRE-CREATE'], users)}
  customers |= {'fashion_news_frequency': drawn(['NONE', 'Regularly'], users), 'postal_code': names}
  department, kind = data.items['department'], data.items['kind']
  # Two articles of a kind are of one product in another colour.
  product = pl.Series([f'{number // 2:06d}' for number in range(data.num_items)])
  articles = {'article_id': data.items['id'], 'prod_name': data.items['name']}
  articles |= dict(zip(readers.HM_CATEGORIES, (department, department, kind, product), strict=True))
  articles |= {name: drawn(['a', 'b', 'c', 'd'], data.num_items) for name in readers.HM_ATTRIBUTES}
  transactions = data.events.lazy().select(
    pl.from_epoch('time').dt.strftime('%Y-%m-%d').alias('t_dat'),
    pl.lit(names).gather(pl.col('user')).alias('customer_id'),
    pl.lit(data.items['id']).gather(pl.col('item')).alias('article_id'),
    (pl.col('price') / 590).alias('price'),
    (pl.col('place') + 1).alias('sales_channel_id'),
  )
  tables = (pl.LazyFrame(articles), pl.LazyFrame(customers), transactions)
  for name, table in zip(readers.HM_FILES, tables, strict=True):
    with files.atomic_path(options.folder / name) as temporary:
      table.sink_csv(temporary)
  written = sum((options.folder / name).stat().st_size for name in readers.HM_FILES)
  made.tell(f'{written / 1e9:.1f} GB written', began)


if __name__ == '__main__':
  main()
