"""The ladder with time for every rung: wider models, longer context, more steps than the quickstart.

python -m experiments.mingpt --config=configs/mingpt/shakespeare.py

Measured on two CPU cores that other work shared, 547 s from start to end; validation loss, nats a character (seconds of
training): bigram by SGD 2.5287 (2), by Adam 2.4906 (3), residual MLPs 2.4852 (25), one head 2.3056 (9), 1 block of 2
heads 1.9806 (4.3) and with more width and steps 1.6602 (135), 2 blocks of 4 heads 1.5482 (353).
"""

from configs.mingpt import quickstart
from configs.mingpt._base import gpt, rung


def get_config():
  config = quickstart.get_config()
  config.parts = ('ladder',)
  config.data.source = 'tinyshakespeare'
  rungs = quickstart.rungs()
  rungs['bigram']['train']['steps'] = 3000
  rungs['bigram_adam']['train']['steps'] = 2000
  rungs['residual_mlps'] = rung('residual MLPs', gpt(2, 1, 128, 32, sublayers='mlp'), steps=1500, learning_rate=3e-3)
  rungs['one_head']['train']['steps'] = 2000
  rungs['block1_heads2_brief'] = quickstart.rungs()['block1_heads2'] | {'label': '1 block, 2 heads, seconds'}
  rungs['block1_heads2'] = rung('1 block, 2 heads', gpt(1, 2, 128, 64), steps=3000, learning_rate=4e-3)
  rungs['block2_heads4'] = rung('2 blocks, 4 heads', gpt(2, 4, 128, 128), steps=3500, learning_rate=3e-3)
  config.rungs = rungs
  order = (
    'bigram',
    'bigram_adam',
    'residual_mlps',
    'one_head',
    'block1_heads2_brief',
    'block1_heads2',
    'block2_heads4',
  )
  config.climb = order
  return config
