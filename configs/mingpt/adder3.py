"""Sums of 1 to 3 digits, then sums of up to 5 digits: how far beyond its training the adder goes.

python -m experiments.mingpt --config=configs/mingpt/adder3.py

Measured on two CPU cores, 45 s of training, 2,000 held-out sums a length: 1, 2 and 3 digits 100%, 4 and 5 digits 0%.
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
