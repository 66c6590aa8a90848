"""A cross-encoder for the Python documentation, out of all-MiniLM-L6-v2 in a hundred steps.

python -m experiments.retrieval     # makes the index that pairs are taken from, where it is not there yet
python -m experiments.encoder
"""

from configs.encoder._base import base


def get_config():
  config = base()
  config.data.held_back = True
  config.pairs.number = 2000
  config.train.update(steps=100, log_every=10)
  config.train.optimizer.warmup_steps = 20
  return config
