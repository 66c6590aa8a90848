"""The whole ladder on given names, from counting to a Transformer, beside the values published with makemore.

python -m experiments.makemore

Measured: see docs/ladders.md.
"""

from configs.makemore._base import base


def get_config():
  config = base()
  mlp = dict(kind='mlp', embed_dim=10, hidden_dim=200)
  models = {
    'ngram': dict(kind='ngram', order=5),
    'bigram': dict(kind='bigram', learning_rate=0.05, weight_decay=0.0, published=2.48),
    'mlp': dict(mlp, context=3, steps=1000, published=2.36),
    'mlp_tuned': dict(mlp, context=3, kaiming=True, learning_rate=1e-2, published=2.19),
    'mlp_norm': dict(mlp, context=4, kaiming=True, norm=True, learning_rate=1e-2, steps=4000, published=2.11),
    'mlp_norm_tuned': dict(
      mlp,
      context=8,
      kaiming=True,
      norm=True,
      dropout=0.3,
      learning_rate=5e-3,
      steps=5000,
      batch_size=64,
      published=2.03,
    ),
    'wavenet': dict(
      kind='wavenet',
      context=8,
      hidden_dim=128,
      dropout=0.2,
      learning_rate=5e-3,
      steps=5000,
      batch_size=64,
      published=1.99,
    ),
    'bow': dict(kind='bow', learning_rate=5e-3),
    'rnn': dict(kind='rnn', learning_rate=5e-3),
    'gru': dict(kind='gru', learning_rate=5e-3),
    'lstm': dict(kind='lstm', learning_rate=5e-3),
    'transformer': dict(kind='transformer', warmup_steps=100),
  }
  config.ladder, config.models = tuple(models), models
  return config
