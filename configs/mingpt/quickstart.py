"""The ladder from a uniform guess to two blocks of four heads on characters of Shakespeare; then 2-digit addition.

python -m experiments.mingpt

Measured on two CPU cores that other work shared (load 5), 131 s from start to end. Validation loss, nats a character of
tinyshakespeare: bigram by SGD 2.5339, by Adam 2.4870, residual MLPs 2.4853, one head 2.4410, 1 block of 2 heads 1.9806
(8.4 s of training, compiling included; 2.13 after 5.3 s), 2 blocks of 4 heads 1.7301 (75 s). The adder: all 10,000 sums
right, 16 s of training.
"""

from typing import Any

from configs.mingpt._base import base, gpt, rung


def rungs() -> dict:
  plain_sgd: dict[str, Any] = dict(name='sgd', schedule='constant', warmup_steps=0, beta1=0.9, clip_norm=0.0)
  small: dict[str, Any] = dict(context_length=32, embed_dim=64)
  return {
    'bigram': rung(
      'bigram, SGD', {'kind': 'bigram', 'context_length': 32}, steps=1000, learning_rate=20.0, **plain_sgd
    ),
    'bigram_adam': rung(
      'bigram, Adam', {'kind': 'bigram', 'context_length': 32}, steps=1000, learning_rate=0.05, weight_decay=0.0
    ),
    'residual_mlps': rung('residual MLPs', gpt(2, 1, 128, 32, sublayers='mlp'), steps=600, learning_rate=3e-3),
    'one_head': rung('one attention head', gpt(1, 1, **small, sublayers='attention'), steps=600, learning_rate=1e-2),
    'block1_heads2': rung('1 block, 2 heads', gpt(1, 2, **small), steps=800, learning_rate=6e-3),
    'block2_heads4': rung('2 blocks, 4 heads', gpt(2, 4, 128, 64), steps=1200, learning_rate=3e-3),
  }


def get_config():
  config = base()
  config.rungs = rungs()
  config.climb = tuple(rungs())
  config.parts = ('ladder', 'adder')
  return config
