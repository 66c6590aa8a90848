"""Goes on with the encoder's pretraining by masked words, on the text of the corpus; no pairs are learned from.

python -m experiments.encoder --config=configs/encoder/masked_lm.py

Not run to its end here.
"""

from configs.encoder._base import base


def get_config():
  config = base()
  config.data.held_back = True
  config.kind = 'masked_lm'
  config.train.optimizer.learning_rate = 5e-5
  return config
