"""Adapts the encoder itself to the corpus: queries come nearer to their passages than to all others of a batch.

python -m experiments.encoder --config=configs/encoder/contrastive.py
python -m experiments.retrieval --config.encoder.name=runs/encoder/contrastive/model --workdir=runs/retrieval/adapted

Not run to its end here.
"""

from configs.encoder._base import base


def get_config():
  config = base()
  config.kind = 'contrastive'
  config.train.accumulation = 1  # every passage of the batch is a negative of every query
  config.train.optimizer.learning_rate = 2e-5
  return config
