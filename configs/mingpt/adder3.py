"""Sums of 1 to 3 digits, then sums of up to 5 digits: how far beyond its training the adder goes.

python -m experiments.mingpt --config=configs/mingpt/adder3.py
"""

from configs.mingpt._base import base


def get_config():
  config = base()
  config.parts = ('adder',)
  config.adder.problem.update(digits=3, min_digits=1)
  config.adder.model.update(embed_dim=96)
  config.adder.train.update(steps=3000)
  config.adder.test_digits = (1, 2, 3, 4, 5)
  return config
