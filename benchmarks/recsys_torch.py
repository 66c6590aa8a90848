"""Training rows a second of the ranker: our step beside the same SparseNN in PyTorch (nn.EmbeddingBag), one core each.

    python benchmarks/recsys_torch.py --peer_python=/path/to/python     # an interpreter with torch
    python benchmarks/recsys_torch.py                             # ours alone; also on a GPU

Shapes are those of configs/recsys/hm.py on H&M's tables: 105,542 items, four categories and four attributes, three
columns of a user; batches of groups with ids drawn by Zipf's law. Both sides begin at the same weights, do the same
updates (row-wise Adagrad on rows of tables, AdamW on the rest, no clipping) and must print the same losses to 1e-4;
then they take turns. Seconds are of processor time, as others may use the core; each side has one thread.

    whole      ours, but whole tables are differentiated and updated, not only the rows that a batch looks up
    flat       PyTorch, a flat batch: the user's columns and bag are looked up for every row, as DLRM's are
    eager      PyTorch, what belongs to a group is looked up once a group, as ours does
    compile    the same, everything behind the tables through torch.compile
"""

import argparse
import dataclasses
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import numpy as np
import record
from side import Side

HERE = pathlib.Path(__file__).parent
CODES = (
  6,
  20,
  132,
  47_225,
  51,
  31,
  22,
  251,
)  # index group, product group, type, code; colour, look, garment, department
USERS = (16, 4, 5)  # age by five years, club status, fashion news
ITEMS, DENSE = 105_542, 90
OURS = {'ours': [], 'whole': ['--whole']}
RATE, TABLE_RATE, DECAY = 3e-3, 3e-4, 0.01


def made(groups: int, size: int, number: int, model: dict, last: int) -> dict[str, np.ndarray]:
  """Arrays of `number` batches, and the tables of codes and bounds that both sides share."""
  rng = np.random.default_rng(0)
  # Zipf's law with exponent 1, by inversion.
  items = lambda shape: np.minimum(np.exp(rng.random(shape) * np.log(last)), last).astype(np.int32)
  codes = np.stack([rng.integers(0, size_, last + 1) for size_ in CODES], 1).astype(np.int32)
  edges = np.cumsum(0.05 + rng.random((DENSE, model['bins'] + 1)), 1).astype(np.float32)
  shape = (number, groups, size)
  bag = items((number, groups, model['bag_length']))
  return {
    'codes': codes,
    'edges': edges,
    'dense': (rng.random((*shape, DENSE)) * edges[:, -1]).astype(np.float32),
    'item': items(shape),
    'user_codes': np.stack([rng.integers(0, size_, shape[:2]) for size_ in USERS], -1).astype(np.int32),
    'bag': np.where(rng.random(bag.shape) < 0.8, bag, 0),
    'labels': (rng.random((*shape, 3)) < 0.1).astype(np.float32),
    'offset': rng.normal(size=shape[:2]).astype(np.float32),
    'weights': (rng.random(shape) < 0.95).astype(np.float32),
  }


def serve(folder: pathlib.Path, whole: bool) -> None:
  """Our side: the trainer's own step; `whole` differentiates and updates whole tables."""
  import jax
  from flax import traverse_util

  from mlsd_jax.models.sparsenn import SparseNNConfig
  from mlsd_jax.recsys.stages import ranker
  from mlsd_jax.training import sharding, step
  from mlsd_jax.training.optimizers import OptimizerConfig, make_optimizer

  arrays = dict(np.load(folder / 'batches.npz'))
  codes, edges = arrays.pop('codes'), arrays.pop('edges')
  config = SparseNNConfig(
    **json.loads((folder / 'model.json').read_text()),
    num_dense=DENSE,
    num_items=len(codes) - 1,
    code_sizes=CODES,
    user_sizes=USERS,
  )
  task = ranker.ranker_task(config, codes, edges, batch_size=arrays['item'].shape[1])
  settings = OptimizerConfig(
    name='rowwise_adagrad',
    learning_rate=RATE,
    table_learning_rate=TABLE_RATE,
    schedule='constant',
    beta2=0.99,
    weight_decay=DECAY,
    clip_norm=0.0,
  )
  optimizer = make_optimizer(settings, 1000)
  mesh = sharding.make_mesh({})
  run = step.make_train_step(task, optimizer, mesh, by_rows=settings.by_rows and not whole)
  state = step.init_state(task, optimizer, jax.random.key(0))
  rng = np.random.default_rng(1)
  # A bias and an output layer that are not zero, so that every part has a gradient.
  params = jax.tree.map(lambda p: p + 0.01 * rng.standard_normal(p.shape).astype(np.float32), state.params)
  np.savez(folder / 'params.npz', **traverse_util.flatten_dict(params, sep='/'))
  state = dataclasses.replace(state, params=params)
  batches = jax.device_put(arrays)
  state, metrics = run(state, batches)
  losses = np.asarray(metrics['loss'][0] / metrics['loss'][1])
  (folder / f'{"whole" if whole else "ours"}.json').write_text(json.dumps(losses.tolist()))
  # On an accelerator the processor's time says nothing.
  clock = time.process_time if jax.default_backend() == 'cpu' else time.perf_counter
  print('ready', flush=True)
  for _ in sys.stdin:
    began = clock()
    state, metrics = run(state, batches)
    jax.block_until_ready(state)
    print((clock() - began) / len(losses), flush=True)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--peer_python', default=os.environ.get('MLSD_PEER_PYTHON'), help='an interpreter with torch')
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--steps', type=int, default=10, help='a round')
  parser.add_argument('--items', type=int, default=ITEMS, help='rows of the largest table')
  parser.add_argument('--serve', type=pathlib.Path, help='internal')
  parser.add_argument('--whole', action='store_true', help='internal')
  options = parser.parse_args()
  if options.serve:
    return serve(options.serve, options.whole)
  from configs.recsys import hm

  config = hm.get_config()
  model, groups, size = config.ranker.model.to_dict(), config.ranker.train.batch_size, config.funnel.group
  os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # both sides are children of this process
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    arrays = made(groups, size, options.steps, model, options.items)
    np.savez(folder / 'batches.npz', **arrays)
    (folder / 'model.json').write_text(json.dumps(model))
    losses = config.ranker.losses
    shape = {'top_dims': [128, 64], 'code_sizes': CODES, 'user_sizes': USERS, 'rate': RATE, 'table_rate': TABLE_RATE}
    settings = model | shape | {'weight_decay': DECAY, 'soon': losses.soon, 'quantity': losses.quantity}
    (folder / 'config.json').write_text(json.dumps(settings))
    sides = {name: Side([sys.executable, __file__, f'--serve={folder}', *more]) for name, more in OURS.items()}
    for side in sides.values():
      side.ready()
    if options.peer_python:
      for mode in ('flat', 'eager', 'compile'):
        sides[mode] = Side([options.peer_python, HERE / 'torch_recsys.py', folder, mode])
        sides[mode].ready()
    expected = np.array(json.loads((folder / 'ours.json').read_text()))
    for mode in sides:
      difference = np.abs(np.array(json.loads((folder / f'{mode}.json').read_text())) - expected).max()
      print(
        f'{mode}: losses of {len(expected)} steps {expected[0]:.4f} ... {expected[-1]:.4f}, off by {difference:.1e}'
      )
      if difference > 1e-4:
        raise SystemExit(f'{mode} does not compute the same')
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(options.rounds):
      for name, side in sides.items():
        taken[name].append(side.run())
    for side in sides.values():
      side.close()
  rows = groups * size
  # Of an id's row: read, its gradient written and read, the row read and written again; four bytes of Adagrad's twice.
  looked_up = rows * (1 + len(CODES)) + groups * (len(USERS) + model['bag_length'])
  traffic = looked_up * (5 * 4 * model['embed_dim'] + 8)
  print(
    f'{"":<10}{"ms a step":>10}{"rows a second":>15}{"tables, GB/s":>14}{"ours / it":>11}   medians of {options.rounds}'
  )
  ours = statistics.median(taken['ours'])
  for name, seconds in taken.items():
    median = statistics.median(seconds)
    print(f'{name:<10}{1000 * median:10.1f}{rows / median:15,.0f}{traffic / median / 1e9:14.3f}{median / ours:11.2f}')
  peers = {mode: statistics.median(taken[mode]) for mode in ('flat', 'eager', 'compile') if mode in taken}
  if peers:
    best = min(peers, key=lambda mode: peers[mode])
    mine, others = ([rows / each for each in taken[mode]] for mode in ('ours', best))
    what, against = "ranker's training, one core", f'torch {best}'
    record.pair(what, mine, others, against=against, unit='rows/s', more_is_better=True)
  return None


if __name__ == '__main__':
  main()
