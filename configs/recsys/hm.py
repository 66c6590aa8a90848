"""Kaggle's H&M: 1.37 M customers, 105,542 articles, 31.8 M transactions. Not run on its own data here.

python -m experiments.recsys --config=configs/recsys/hm.py --config.data.path=FOLDER
python -m experiments.recsys --config=configs/recsys/hm.py --mode=submit

FOLDER holds articles.csv, customers.csv and transactions_train.csv of
kaggle.com/c/h-and-m-personalized-fashion-recommendations. Fashion is bought again far less than groceries are, and
changes with the season: fewer repurchases, more of what is popular now, a shorter memory.

Measured on generated files of that form and size (benchmarks/recsys_hm_files.py), with a tenth of the steps and two
weeks: 30m25s on two slow CPU cores, 20.9 GB of memory at most, a request 20.2 ms (4.6 on a quicker machine); see
docs/notes/recsys.md, Scale. It needs a machine of 24 GB. On several devices the 105,543 rows of items are split only
with --config.tower.model.rows_multiple=128 --config.ranker.model.rows_multiple=128 (docs/how-to/will_it_fit.md).
"""

from configs.recsys._base import base


def get_config():
  config = base()
  config.data.source = 'hm'
  config.funnel.weeks = 4
  config.funnel.keep = 200
  config.funnel.group = 48
  config.funnel.users = 20_000  # of each week: the candidates of all of them would not fit
  config.funnel.per_source = {
    'repurchase': 100,
    'popular': 200,
    'place': 100,
    'category': 200,
    'covisit': 200,
    'tower': 200,
    'sequence': 200,  # where there is a sequence model
  }
  config.tower.factors = 64
  config.tower.model.embed_dim = 64
  config.tower.model.sequence_length = 24
  config.tower.train.steps = 6000
  config.tower.train.optimizer.table_learning_rate = 0.1
  config.tower.train.batch_size = 2048
  config.tower.train.eval_every = 1000
  config.tower.train.checkpoint_every = 1000
  config.ranker.train.steps = 6000
  config.ranker.train.batch_size = 64
  return config
