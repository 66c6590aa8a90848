"""Purchases with a known cause, few enough for minutes: the funnel beside the truth it was drawn from.

python -m experiments.recsys --config=configs/recsys/synthetic.py
python -m experiments.recsys --config=configs/recsys/synthetic.py --mode=simulate

The training took 6 minutes of processor time with nothing compiled before (two cores, shared with other work; 22.7
minutes by the clock): MAP@12 0.1507 of the ranker, 0.1468 of the blend, 0.0964 of repurchase + popular.
"""

from configs.recsys._base import base


def get_config():
  config = base()
  config.data.source = 'synthetic'
  config.data.synthetic = {'num_users': 3000, 'num_items': 2000, 'weeks': 30, 'tastes': 20, 'seed': 0}
  config.funnel.weeks = 2
  config.funnel.keep = 100
  config.funnel.group = 64
  config.funnel.per_source = dict.fromkeys(config.funnel.per_source, 100)
  config.tower.model.history_length = 64
  config.tower.model.sequence_length = 16
  config.tower.train.steps = 200
  config.tower.train.batch_size = 256
  config.ranker.train.steps = 100
  return config
