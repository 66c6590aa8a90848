"""The whole ladder on given names, from counting to a Transformer, beside the values published with makemore.

python -m experiments.makemore

Measured: WaveNet 1.9693 nats a character on the validation words, 1.9669 on the test words; 129 s of training, 153 s
in all on two CPU cores beside other work. All rungs stand in docs/explanation/makemore.md.
"""

from configs.makemore._base import base


def get_config():
  config = base()
  deep = dict(embed_dim=32, batch_size=64, steps=4000)
  models = {
    'ngram': dict(kind='ngram', order=5),
    'bigram': dict(kind='bigram', learning_rate=0.05, weight_decay=0.0, published=2.48),
    'mlp': dict(kind='mlp', embed_dim=10, hidden_dim=200, steps=1000, published=2.36),
    'mlp_tuned': dict(kind='mlp', embed_dim=10, hidden_dim=200, kaiming=True, learning_rate=1e-2, published=2.19),
    'mlp_norm': dict(
      kind='mlp', context=5, embed_dim=24, hidden_dim=300, kaiming=True, norm=True, dropout=0.1, published=2.11
    ),
    'mlp_norm_tuned': dict(
      deep, kind='mlp', context=8, hidden_dim=400, kaiming=True, norm=True, dropout=0.2, published=2.03
    ),
    'wavenet': dict(deep, kind='wavenet', context=8, hidden_dim=256, dropout=0.1, steps=5000, published=1.99),
    'bow': dict(kind='bow', learning_rate=5e-3),
    'rnn': dict(kind='rnn', learning_rate=5e-3),
    'gru': dict(kind='gru', learning_rate=5e-3),
    'lstm': dict(kind='lstm', learning_rate=5e-3),
    'transformer': dict(kind='transformer', warmup_steps=100),
  }
  config.ladder, config.models = tuple(models), models
  return config
