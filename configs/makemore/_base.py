"""What the ladders of makemore have in common."""

from ml_collections import ConfigDict

from configs.executor_section import executor_section
from configs.train_section import train_section


def base():
  return ConfigDict(
    {
      'data': {
        'source': 'names',  # names, babynames, or a file with a word on each line
        'path': '',  # such a file; the same as naming it as source
        'split_seed': 42,  # as in the lectures: 80, 10 and 10 percent
      },
      'seeds': (0,),  # each rung is trained once a seed
      'ladder': (),  # the rungs, in their order
      'models': {},  # by name: kind, the sizes of NameConfig, and what differs from train; published is shown beside
      'train': train_section(
        omit=('seed',),  # each of `seeds`
        steps=2000,
        batch_size=32,
        steps_per_dispatch=250,
        optimizer={
          'learning_rate': 3e-3,
          'schedule': 'linear',
          'final_learning_rate': -1.0,  # below 0: a fiftieth of the rung's own learning_rate
          'beta2': 0.99,
          'weight_decay': 0.01,
        },
        log_every=1000,
      ),
      'sample': {'number': 1000, 'shown': 8, 'seed': 0},
      'search': {
        'trials': 200,
        'low': 1e-4,
        'high': 0.3,
        'widths': (25, 50, 100, 200),
        'context': 3,
        'embed_dim': 10,
        'steps': 1000,
        'batch_size': 228,  # places, about as many as 32 names have
        'seed': 0,
        'part': 0,  # trials that are trained together as one part; 0 is all of them
      },
      **executor_section(),
      'diagnose': {'steps': 1000, 'learning_rate': 0.3},
    }
  )
