"""The Transformer of makemore.py (4 layers, 64 wide), trained out.

python -m experiments.makemore --config=configs/makemore/transformer.py

Measured: 1.9324 on the validation words, 1.9328 on the test words (1.92 is published); 216 s on two CPU cores beside
other work.
"""

from configs.makemore._base import base


def get_config():
  config = base()
  models = {
    'transformer': dict(
      kind='transformer', dropout=0.1, steps=8000, batch_size=128, warmup_steps=200, learning_rate=3e-3, published=1.92
    )
  }
  config.ladder, config.models = tuple(models), models
  config.train.checkpoint_every = 1000
  return config
