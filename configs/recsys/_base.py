"""What the recommenders have in common."""

from ml_collections import ConfigDict

from configs.executor_section import executor_section
from configs.train_section import train_section


def base():
  rowwise = {
    'name': 'rowwise_adagrad',
    'learning_rate': 2e-3,
    'table_learning_rate': 0.1,
    'schedule': 'linear',
    'warmup_steps': 20,
    'weight_decay': 0.01,
    'beta2': 0.99,
  }
  return ConfigDict(
    {
      'seed': 0,
      'data': {
        'source': 'completejourney',  # hm, online_retail, synthetic, table, or a table's file
        'promotions': True,  # completejourney: the displays and mailers planned for the week to come
        'path': '',  # hm: its folder; online_retail and table: the file; alone: a table
        # table: the file's names of ours; '' is the column of our name, where there is one
        'columns': dict.fromkeys(('user_id', 'item_id', 'time', 'price', 'quantity', 'rating', 'place', 'name'), ''),
        'categories': '',  # table: columns that describe an item, from coarse to fine, with commas between
        'decimal': '',  # table: point or comma, whichever its numbers have; '' finds it out, column by column
        'date_order': '',  # table: day or month, whichever comes first in its dates; '' finds it out
        'min_rating': '',  # table: the least rating that counts as an event; '' where there are no ratings
        'synthetic': {},  # what SyntheticConfig (recsys/purchases/generator.py) has
      },
      'funnel': {
        'weeks': 20,  # on which the ranker is trained, those before the one held out
        'keep': 300,  # candidates of a user that the ranker sees
        'group': 96,  # of them in training
        'newcomers': 'blend',  # or a source, if it found more; or ranker: whose order users without a purchase get
        'skip': 0,  # weeks left out at the end, to judge on an earlier one
        'users': 10_000,  # of each week, drawn where more bought (of the ranker's, what its updates see); 0 for all
        'per_source': {
          'repurchase': 600,
          'popular': 1000,
          'place': 400,
          'category': 500,
          'covisit': 300,
          'tower': 1000,
          'sequence': 500,  # where there is a sequence model
        },
      },
      'tower': {
        'weeks': 20,
        'log_q': True,
        'uniform_negatives': True,
        'factors': 512,  # of the wide part
        'refresh': 4,  # weeks after which the towers go on learning
        'refresh_steps': 60,
        'epochs': 2.0,  # at most, through the examples: a small table soon memorises them
        'index': 'auto',
        'model': {
          'embed_dim': 128,
          'hidden_dim': 128,
          'history_length': 64,
          'sequence_length': 32,
          'rows_multiple': 1,  # on many devices: a multiple of their number, so that they can split the tables
        },
        'train': train_section(
          omit=('seed',),  # that of the experiment
          steps=300,
          batch_size=1024,
          steps_per_dispatch=10,
          log_every=50,
          eval_every=100,
          checkpoint_every=100,
          # At the 0.1 that millions of users allow, a few thousand users are soon memorised.
          optimizer=dict(rowwise, table_learning_rate=0.06),
        ),
      },
      'sequence': {
        'kind': '',  # of a model of each user's purchases in time: sasrec or hstu; '' for none
        'loss': 'sampled_softmax',  # or softmax: over all items; or gbce
        'negatives': 4,  # drawn for each row of a batch, shared by all of them
        'popular': 0.5,  # share of them drawn as often as items sell, the others uniform
        'calibration': 0.75,  # of gbce
        'horizon': 7.0,  # days; any purchase of so many days after is learnt, or the very next where it is 0
        'epochs': 10.0,  # at most, through the histories
        'refresh_steps': 40,  # each time that the towers go on learning
        'model': {
          'block': 'ligr',  # of sasrec; or plain
          'sequence_length': 64,
          'embed_dim': 64,
          'num_layers': 2,
          'num_heads': 2,
          'dropout': 0.2,
          'rows_multiple': 1,
        },
        'train': train_section(
          omit=('seed',),
          steps=600,
          batch_size=128,  # windows of histories
          steps_per_dispatch=10,
          log_every=50,
          eval_every=100,
          checkpoint_every=100,
          optimizer=dict(rowwise, table_learning_rate=0.06),
        ),
      },
      'ranker': {
        'kind': 'sparsenn',  # or lightgbm (uv sync --extra trees), or average: of both
        'trees': {'rounds': 300, 'learning_rate': 0.04, 'num_leaves': 31, 'min_data_in_leaf': 100},
        'epochs': 3.0,  # at most, through the groups
        'held_weeks': 0,  # the latest, not learnt from: its probabilities are put right on them; 0 for on those learnt
        'losses': {
          'bce': 1.0,
          'pairwise': 3.0,
          'listwise': 0.0,
          'teacher': 0.0,  # above 0 sparsenn learns LightGBM's scores, too (uv sync --extra trees)
          'soon': 0.2,
          'quantity': 0.05,
        },
        'model': {
          'embed_dim': 16,
          'bins': 12,
          'bag_length': 16,
          'interaction': 'both',
          'cross_layers': 2,
          'rows_multiple': 1,
        },
        'train': train_section(
          omit=('seed',),
          steps=1500,
          batch_size=32,  # groups
          steps_per_dispatch=10,
          log_every=100,
          checkpoint_every=100,
          # Rows of ids memorise what few households bought at any faster rate (docs/notes/recsys.md).
          optimizer=dict(rowwise, learning_rate=2e-3, table_learning_rate=3e-4),
        ),
      },
      'ratings': {  # --mode=ratings
        'factors': 16,  # of a user and an item; 0 leaves biases alone
        'rounds': 12,
        'held_out': 0.1,  # of each user's ratings, the latest
      },
      'serve': {
        'requests': 300,
        'number': 12,
        'part': 10_000,  # users of a file of --mode=submit
        'output': '',  # where its files go: a folder or s3://BUCKET/PREFIX; '' is recommendations/ in the workdir
      },
      **executor_section(),
    }
  )
