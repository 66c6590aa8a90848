"""python -m experiments.recsys on H&M's three files as a user meets it."""

import json

import polars as pl
import pytest

from experiments import recsys
from mlsd_jax import sealed
from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate

TINY = [
  '--config.funnel.weeks=1',
  '--config.funnel.keep=40',
  '--config.funnel.group=16',
  '--config.tower.train.steps=20',
  '--config.tower.train.batch_size=64',
  '--config.tower.train.eval_every=10',
  '--config.tower.train.checkpoint_every=0',
  '--config.tower.model.embed_dim=16',
  '--config.tower.model.history_length=16',
  '--config.tower.model.sequence_length=4',
  '--config.tower.factors=16',
  '--config.tower.refresh=1',
  '--config.tower.refresh_steps=4',
  '--config.ranker.train.steps=10',
  '--config.ranker.train.batch_size=16',
  '--config.tower.train.optimizer.warmup_steps=0',
  '--config.ranker.train.optimizer.warmup_steps=0',
  '--config.serve.requests=5',
]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A shop in H&M's form."""
  folder = tmp_path_factory.mktemp('hm')
  data = generate(SyntheticConfig(num_users=200, num_items=150, weeks=12, tastes=6, on_sale_weeks=0)).dataset
  articles = data.items.select(
    pl.col('id').alias('article_id'),
    pl.col('name').alias('prod_name'),
    *(pl.col('department').alias(name) for name in ('index_group_name', 'garment_group_name', 'department_name')),
    *(pl.col('kind').alias(name) for name in ('product_group_name', 'product_type_name', 'product_code')),
    *(pl.lit('plain').alias(name) for name in ('colour_group_name', 'graphical_appearance_name')),
  )
  articles.write_csv(folder / 'articles.csv')
  customers = data.users.select(
    pl.col('id').alias('customer_id'),
    pl.lit('31.0').alias('age'),
    pl.lit('ACTIVE').alias('club_member_status'),
    pl.lit('NONE').alias('fashion_news_frequency'),
    pl.lit('p').alias('postal_code'),
  )
  customers.write_csv(folder / 'customers.csv')
  events = data.events.select(
    pl.from_epoch('time').dt.date().cast(pl.String).alias('t_dat'),
    pl.Series('customer_id', data.users['id'].gather(data.events['user'])),
    pl.Series('article_id', data.items['id'].gather(data.events['item'])),
    (pl.col('price') / 1000).alias('price'),
    (pl.col('place') + 1).alias('sales_channel_id'),
  )
  events.write_csv(folder / 'transactions_train.csv')
  return folder


@pytest.mark.slow
def test_from_files_to_a_submission(folder, tmp_path, capsys):
  workdir = tmp_path / 'run'
  first = ['--config=configs/recsys/hm.py', f'--config.data.path={folder}', f'--workdir={workdir}', *TINY]
  first.append('--config.funnel.skip=2')
  assert recsys.main([*first[:4], '--mode=prepare']) == 0
  assert recsys.main(first) == 0
  out = capsys.readouterr().out
  assert 'repurchase + popular' in out
  result = json.loads((workdir / 'result.json').read_text())
  for name in ('map@12', 'recall@100', 'recall@1000'):
    assert {'ranker', 'blend', 'tower', 'popular', 'repurchase + popular'} <= set(result[name])
  assert 0 < result['normalized_entropy'] < 2
  assert result['recommend_p99_ms'] > 0
  for name in ('recall', 'funnel', 'reliability', 'towers', 'embedding_map'):
    assert (workdir / 'plots' / f'{name}.png').stat().st_size > 5000

  again = [f'--workdir={workdir}']
  assert recsys.main(again) == 0
  assert 'is finished' in capsys.readouterr().out
  assert recsys.main([*again, '--mode=evaluate']) == 0
  shown = capsys.readouterr().out
  assert all(text in shown for text in ('heavy', 'popularity_lift', 'sold before'))
  assert recsys.main([*again, '--mode=backtest']) == 0
  assert '2 weeks' in capsys.readouterr().out
  assert recsys.main([*again, '--mode=recommend', '--user=u7']) == 0
  assert 'bought lately' in capsys.readouterr().out
  assert recsys.main([*again, '--mode=recommend', '--user=nobody']) == 0
  assert 'is not known' in capsys.readouterr().out
  assert recsys.main([*again, '--mode=recommend']) == 2
  assert '--user=ID' in capsys.readouterr().err
  assert recsys.main([*again, '--mode=submit']) == 0
  written = pl.read_csv(workdir / 'submission.csv', infer_schema=False)
  assert written.columns == ['customer_id', 'prediction']
  assert written['customer_id'].to_list() == [f'u{i}' for i in range(200)]
  lists = written['prediction'].str.split(' ')
  assert lists.list.len().unique().to_list() == [12]
  assert lists.list.n_unique().unique().to_list() == [12]
  assert lists.explode().str.len_chars().unique().to_list() == [10]  # article ids keep their zeros


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--config.data.source=shop'], 'neither a file nor one of completejourney'),
    (['--config.data.source=hm'], 'requires --config.data.path='),
    (['--config.data.source=table', '--config.data.path=none.csv'], 'no such file'),
    (['--config=configs/recsys/synthetic.py', '--config.funnel.skip=99'], 'skip=99 leaves no purchase'),
    (['--config.ranker.losses.bce=-x'], 'bce'),
    (['--mode=recommend', '--user=1'], 'no trained recommender'),
    (['--mode=evaluate'], 'holds no evaluation'),
    (['--mode=backtest'], 'train with --config.funnel.skip=4'),
  ],
)
def test_mistakes_are_one_line(flags, message, tmp_path, capsys):
  assert recsys.main([f'--workdir={tmp_path / "run"}', *flags]) == 2
  error = capsys.readouterr().err
  assert message in error
  assert error.count('\n') == 1


@pytest.mark.parametrize(
  ('name', 'content'),
  [
    ('commas.csv', b'user_id,item_id,time\na,x,2020-01-01\nb,y,z,2020-01-02\n'),
    ('quotes.csv', b'user_id,item_id,time\na,"x,2020-01-01\n'),
    ('cut.parquet', b'PAR1'),
    ('none.csv.gz', b'user_id,item_id,time\n'),
  ],
)
def test_damaged_files_are_one_line(name, content, tmp_path, capsys):
  (tmp_path / name).write_bytes(content)
  flags = ['--config.data.source=table', f'--config.data.path={tmp_path / name}']
  assert recsys.main([f'--workdir={tmp_path / "run"}', *flags]) == 2
  error = capsys.readouterr().err
  assert name in error
  assert error.count('\n') == 1


def test_a_run_does_not_go_on_with_other_purchases(folder, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(recsys.preparation, 'prepare', lambda *_, **__: None)  # as if requested to stop
  table = ['--config.data.source=table', f'--config.data.path={tmp_path / "shop.csv"}', f'--workdir={tmp_path / "run"}']
  shop = generate(SyntheticConfig(num_users=50, num_items=30, weeks=12, tastes=4)).dataset.events
  shop = shop.rename({'user': 'user_id', 'item': 'item_id'})
  shop.write_csv(tmp_path / 'shop.csv')
  assert recsys.main(table) == 0
  assert recsys.main(table) == 0
  shop.with_columns(pl.col('item_id').reverse()).write_csv(tmp_path / 'shop.csv')
  assert recsys.main(table) == 2
  assert 'was begun with other data (fingerprint' in capsys.readouterr().err


def test_a_run_is_finished_only_for_the_same_data(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(recsys.preparation, 'prepare', lambda *_, **__: None)  # as if requested to stop
  path, workdir = tmp_path / 'shop.csv', tmp_path / 'run'
  table = [f'--config.data.path={path}', f'--workdir={workdir}']
  shop = generate(SyntheticConfig(num_users=50, num_items=30, weeks=12, tastes=4)).dataset.events
  shop = shop.rename({'user': 'user_id', 'item': 'item_id'})
  shop.write_csv(path)
  assert recsys.main(table) == 0
  sealed.write_json(workdir / 'result.json', {'map@12': {'ranker': 0.25}, 'normalized_entropy': None})
  assert recsys.main(table) == 0
  assert 'is finished: MAP@12 0.2500' in capsys.readouterr().out
  shop.sample(fraction=1.0, shuffle=True, seed=0).write_csv(path)  # the same purchases
  assert recsys.main(table) == 0
  shop[: len(shop) // 2].write_csv(path)
  assert recsys.main(table) == 2
  assert 'was begun with other data (fingerprint' in capsys.readouterr().err
  path.unlink()
  assert recsys.main(table) == 2
  assert 'no such file' in capsys.readouterr().err


def test_simulation_prints_the_truth(capsys, tmp_path):
  config = ['--config=configs/recsys/synthetic.py', '--config.data.synthetic.num_users=400']
  assert recsys.main([*config, f'--workdir={tmp_path}', '--mode=simulate']) == 0
  out = capsys.readouterr().out
  assert 'oracle' in out
  assert 'doubly robust' in out
