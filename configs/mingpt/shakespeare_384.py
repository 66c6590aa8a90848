"""The top of the ladder: 6 blocks, 6 heads, 384 wide, 256 characters of context, dropout 0.2. For a GPU.

python -m experiments.mingpt --config=configs/mingpt/shakespeare_384.py

Not run here to its end: two CPU cores would take hours.
"""

from configs.mingpt import quickstart
from configs.mingpt._base import gpt, rung


def get_config():
  config = quickstart.get_config()
  config.parts = ('ladder',)
  config.data.source = 'tinyshakespeare'
  top = rung(
    '6 blocks, 6 heads',
    gpt(6, 6, 384, 256, dropout=0.2),
    steps=5000,
    batch_size=64,
    learning_rate=1e-3,
    warmup_steps=100,
  )
  config.rungs = quickstart.rungs() | {'block6_heads6': top}
  config.climb = (*config.climb, 'block6_heads6')
  config.train.update(dtype='bfloat16', eval_every=250, checkpoint_every=500, keep_best=True)
  return config
