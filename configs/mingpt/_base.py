"""What the MiniGPT variants share; a variant changes what it names."""

from ml_collections import ConfigDict

from configs.train_section import train_section


def gpt(num_layers: int, num_heads: int, embed_dim: int, context_length: int, **more) -> dict:
  """The model section of a GPT."""
  shape = dict(num_layers=num_layers, num_heads=num_heads, embed_dim=embed_dim, context_length=context_length)
  return {'kind': 'gpt', 'dropout': 0.0, 'sublayers': 'both', **shape, **more}


def rung(label: str, model: dict, *, steps: int, learning_rate: float, batch_size: int = 32, **optimizer) -> dict:
  """A rung: how charts name it, its model, and what its training changes of the shared settings."""
  rates = {'learning_rate': learning_rate, 'final_learning_rate': learning_rate / 30} | optimizer
  return {'label': label, 'model': model, 'train': {'steps': steps, 'batch_size': batch_size, 'optimizer': rates}}


def base() -> ConfigDict:
  """Data, shared training settings, sampling; the rungs are a variant's own."""
  return ConfigDict(
    {
      'parts': ('ladder',),  # what --mode=train does: ladder, adder, sort, seq2seq
      'data': {
        'source': 'auto',  # tinyshakespeare if it is on this machine, else python_docs; or as data.source of GPT-2
        'path': '',  # a file or folder of your own; the same as naming it as source
        'tokenizer': 'char',
        'text_key': 'text',
        'val_fraction': 0.1,
        'split': 'contiguous',  # the text's last part is the validation split
        'folder': '',
        'workers': 0,
      },
      'train': train_section(  # of every rung and problem, unless it says otherwise; steps and batch_size are its own
        omit=('steps', 'batch_size'),
        steps_per_dispatch=20,
        optimizer={'learning_rate': 3e-3, 'warmup_steps': 50, 'final_learning_rate': 1e-4, 'beta2': 0.99},
        log_every=20,
        eval_every=200,
        checkpoint_every=400,
        keep_checkpoints=1,
      ),
      'max_steps': 0,  # caps the steps of every training, for a quick look; 0 is off
      'climb': (),  # names of rungs, from the lowest to the top
      'rungs': {},
      'adder': {
        'problem': {'digits': 2, 'min_digits': 0, 'held_out': 0.2},  # see data/algorithmic.py
        'model': {'num_layers': 2, 'num_heads': 4, 'embed_dim': 64},
        'train': {'steps': 1000, 'batch_size': 128, 'optimizer': {'learning_rate': 3e-3, 'final_learning_rate': 1e-5}},
        'test_digits': (),  # lengths of sums to be asked for where not all sums are (more than 2 digits)
        'test_sums': 2000,  # a length
      },
      'sort': {
        'problem': {'length': 10, 'symbols': 10, 'held_out': 0.2},
        'model': {'num_layers': 2, 'num_heads': 4, 'embed_dim': 64},
        'train': {'steps': 1500, 'batch_size': 128, 'optimizer': {'learning_rate': 3e-3, 'final_learning_rate': 1e-5}},
        'test_examples': 2000,
      },
      'seq2seq': {
        'problem': {'name': 'reversal', 'held_out': 0.2},  # reversal, dates or addition, with their own settings
        'model': {'num_layers': 2, 'num_heads': 4, 'embed_dim': 64, 'feedforward_dim': 256, 'dropout': 0.1},
        'label_smoothing': 0.1,
        'train': {
          'steps': 2000,
          'batch_size': 64,
          'checkpoint_every': 50,
          'keep_checkpoints': 5,
          'optimizer': {  # the paper's: Adam, and D^-0.5 min(step^-0.5, step warmup^-1.5)
            'name': 'adam',
            'schedule': 'rsqrt',
            'learning_rate': (64 * 400) ** -0.5,
            'warmup_steps': 400,
            'beta2': 0.98,
            'epsilon': 1e-9,
            'clip_norm': 0.0,
          },
        },
        'average': 5,  # last checkpoints whose mean is scored
        'beam': 4,
        'alpha': 0.6,  # of the length penalty
        'test_examples': 1000,
        'show': 5,  # examples printed
      },
      'explain': {
        'rung': '',  # '' is the top one
        'text': 'First Citizen:\nFirst Citizen:\n',
      },
      'sample': {
        'prompt': '\n',  # the flag may be repeated, a prompt each
        'rung': '',  # of --mode=sample; '' is the top one
        'num_samples': 1,
        'max_new_tokens': 200,
        'temperature': 0.8,
        'top_k': 0,
        'seed': 0,
      },
    }
  )
