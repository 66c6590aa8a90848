"""The models of makemore.py at its sizes and batch of 32 names, after 2,000 steps, beside what its script reaches.

python -m experiments.makemore --config=configs/makemore/two_thousand_steps.py --config.seeds='(0,1,2)'

Measured (validation, mean of three seeds): bigram 2.457, mlp 2.130, bow 2.200, rnn 2.113, gru 2.070, transformer 2.056.
The Transformer took 19 s a seed on two CPU cores beside other work, the others 1 to 4.
"""

from configs.makemore._base import base


def get_config():
  config = base()
  models = {
    'bigram': dict(kind='bigram', learning_rate=0.05, weight_decay=0.0, published=2.74),
    'mlp': dict(kind='mlp', context=8, learning_rate=6e-3, published=2.14),
    'bow': dict(kind='bow', learning_rate=5e-3, published=2.26),
    'rnn': dict(kind='rnn', learning_rate=5e-3, published=2.17),
    'gru': dict(kind='gru', learning_rate=5e-3, published=2.15),
    'transformer': dict(kind='transformer', warmup_steps=100, published=2.08),
  }
  config.ladder, config.models = tuple(models), models
  return config
