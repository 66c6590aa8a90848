"""Why a linear layer over embeddings stays at ln 2 = 0.69 on balanced pairs, and what does not.

    python benchmarks/recsys_puzzle.py

Pairs of a user and an item, bought or (as many) drawn uniformly, of generated purchases. Each form is trained by the
same trainer for as many steps; the loss is that of pairs that were not trained on.
"""

import argparse
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlsd_jax.data.batches import Stream, padded
from mlsd_jax.recsys.purchases.generator import SyntheticConfig, generate
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import fit
from mlsd_jax.training.optimizers import OptimizerConfig
from mlsd_jax.training.task import Task

BATCH, WIDTH = 1024, 16
SGD = OptimizerConfig(name='sgd', learning_rate=0.1, beta1=0.0, schedule='constant', clip_norm=0.0)
ADAGRAD = OptimizerConfig(
  name='rowwise_adagrad', learning_rate=1e-2, table_learning_rate=0.1, schedule='constant', weight_decay=0.0
)


def _logits(params, batch, form):
  user, item = params['user_table'][batch['user']], params['item_table'][batch['item']]
  if form == 'dot':
    return (user * item).sum(-1) + params['item_bias_table'][batch['item'], 0] + params['bias']
  return jnp.concatenate([user, item], -1) @ params['kernel'] + params['bias']


def _task(users, items, form, scale):
  def init(key):
    keys = jax.random.split(key, 3)
    draw = lambda key, *shape: scale * jax.random.normal(key, shape)
    params = {
      'user_table': draw(keys[0], users, WIDTH),
      'item_table': draw(keys[1], items, WIDTH),
      'bias': jnp.zeros(()),
    }
    other = {'item_bias_table': jnp.zeros((items, 1))} if form == 'dot' else {'kernel': draw(keys[2], 2 * WIDTH)}
    return params | other

  def metrics(params, batch):
    nll = optax.sigmoid_binary_cross_entropy(_logits(params, batch, form), batch['label'])
    return {'loss': (nll.sum(), jnp.float32(len(nll)))}

  def loss(params, batch, key):
    del key
    found = metrics(params, batch)
    return found['loss'][0] / found['loss'][1], found

  return Task(init=init, loss=loss, evaluate=metrics, items_per_batch=BATCH, item_name='pairs')


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--steps', type=int, default=1000)
  options = parser.parse_args()
  data = generate(
    SyntheticConfig(num_users=2000, num_items=1000, events_per_user=100, weeks=20, on_sale_weeks=0)
  ).dataset
  rng = np.random.default_rng(0)
  user, item = data.events['user'].to_numpy(), data.events['item'].to_numpy()
  users, items = np.tile(user, 2), np.concatenate([item, rng.integers(0, data.num_items, len(item))])
  label = np.repeat(np.array([1.0, 0.0], np.float32), len(item))
  order = rng.permutation(len(label))
  users, items, label = users[order], items[order].astype(np.int32), label[order]
  held = 16 * BATCH
  arrays = {'user': users, 'item': items, 'label': label}
  test_pairs = {name: array[:held] for name, array in arrays.items()}
  in_turn = lambda number, rows: (held + (np.arange(BATCH) + number * BATCH) % (len(label) - held))[rows]
  train = Stream(lambda number, rows: {name: array[in_turn(number, rows)] for name, array in arrays.items()})
  test = padded(test_pairs, BATCH)
  counts = np.bincount(items[held:][label[held:] == 1], minlength=data.num_items) + 1.0
  odds = counts / counts.sum() * data.num_items
  p = np.clip(odds[test_pairs['item']] / (1 + odds[test_pairs['item']]), 1e-6, 1 - 1e-6)
  popular = -np.where(test_pairs['label'] == 1, np.log(p), np.log1p(-p)).mean()
  print(f'{len(label):,} pairs; a guess costs {np.log(2):.4f}, item popularity alone {popular:.4f}')
  print(f'{"form":<44}{"loss held out":>14}')
  for name, form, scale, optimizer in (
    ('linear, embeddings from 0.001, SGD', 'linear', 0.001, SGD),
    ('linear, embeddings from 0.1, SGD', 'linear', 0.1, SGD),
    ('linear, embeddings from 0.1, row-wise Adagrad', 'linear', 0.1, ADAGRAD),
    ('dot product + bias, from 0.1, SGD', 'dot', 0.1, SGD),
    ('dot product + bias, from 0.1, row-wise Adagrad', 'dot', 0.1, ADAGRAD),
  ):
    config = TrainConfig(
      steps=options.steps, batch_size=BATCH, optimizer=optimizer, steps_per_dispatch=50, log_every=0, mesh={'data': 1}
    )
    with tempfile.TemporaryDirectory() as folder:
      task = _task(data.num_users, data.num_items, form, scale)
      print(f'{name:<44}{fit(task, train, test, config, folder).metrics["loss"]:14.4f}', flush=True)


if __name__ == '__main__':
  main()
