"""Sequence recommenders beside RecTools' on one split: each user's last event held out, all unseen items ranked.

    python -m benchmarks.recsys_sequences --data=FOLDER/u.data --peer_python=ENV/bin/python
    python -m benchmarks.recsys_sequences --data=FOLDER/ratings.dat --length=100
    python -m benchmarks.recsys_sequences                                # generated events, and no peer

--data is MovieLens-100k's u.data, MovieLens-1M's ratings.dat, or a text with a user a line: the numbers of its items in
time, with spaces between (then there are no times, and HSTU has its positions alone). Every rating is an event. The
peer needs an interpreter with rectools[torch]: uv venv ENV; uv pip install --python ENV/bin/python 'rectools[torch]'.
Both get the same width, layers, heads, length, dropout, batch and number of updates; the softmax runs over all items
for sasrec and hstu, over drawn ones for esasrec. Neither HSTU knows when the held-out event took place. Means over
users with bootstrap intervals; seconds are of training.
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time
from collections.abc import Callable

import numpy as np

MODELS = ('sasrec', 'esasrec', 'hstu')
DEPTH, DAY = 10, 86_400


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--data', type=pathlib.Path)
  parser.add_argument('--models', default=','.join(MODELS))
  parser.add_argument('--peer_python', default='', help='an interpreter that has rectools')
  parser.add_argument('--epochs', type=int, default=40, help='updates: so often as many as there are users')
  parser.add_argument('--length', type=int, default=50)
  parser.add_argument('--width', type=int, default=64)
  parser.add_argument('--layers', type=int, default=2)
  parser.add_argument('--heads', type=int, default=2)
  parser.add_argument('--dropout', type=float, default=0.2)
  parser.add_argument('--batch', type=int, default=128)
  parser.add_argument(
    '--negatives', type=int, default=128, help='esasrec: theirs an event; ours 8 times as many a batch'
  )
  parser.add_argument('--rate', type=float, default=1e-3)
  parser.add_argument('--users', type=int, default=0, help='so many alone, the first; 0 for all')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--answer', help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.answer:
    return answer(json.loads(options.answer))
  return compare(options)


def read(path: pathlib.Path | None, seed: int) -> tuple[str, np.ndarray]:
  """What it is, and events [E, 3]: user, item, time, of which the numbers may have gaps."""
  if path is None:
    return 'generated events', generate(6040, 3706, 1_170_000, seed)
  text = path.read_text(encoding='latin-1')
  first = text[: text.index('\n')]
  if '::' in first or first.count('\t') == 3:
    lines = [line.replace('::', '\t') for line in text.splitlines() if line[:1].isdigit()]  # some copies have a header
    table = np.array([line.split('\t') for line in lines], np.int64)
    return str(path.name), table[:, [0, 1, 3]]
  users = [np.array(line.split(), np.int64) for line in text.splitlines()]
  rows = [np.stack([np.full(len(items), user), items, np.arange(len(items))], 1) for user, items in enumerate(users)]
  return f'{path.name} (no times)', np.concatenate(rows)


def generate(users: int, items: int, events: int, seed: int) -> np.ndarray:
  """Each item has twenty that follow it: half of the time one of them comes next, else what is popular."""
  rng = np.random.default_rng(seed)
  follow = rng.integers(0, items, (items, 20))
  popular = np.cumsum(1 / np.arange(1, items + 1) ** 0.8)
  length = np.maximum(rng.lognormal(4.5, 1.0, users), 20).astype(int)
  length = np.maximum(length * events // length.sum(), 5)
  last, rows = rng.integers(0, items, users), []
  for place in range(int(length.max())):
    those = np.flatnonzero(length > place)
    drawn = np.searchsorted(popular, popular[-1] * rng.random(len(those)))
    next_ = follow[last[those], rng.integers(0, 20, len(those))]
    last[those] = np.where(rng.random(len(those)) < 0.5, next_, drawn)
    rows.append(np.stack([those, last[those], np.full(len(those), place * DAY)], 1))
  table = np.concatenate(rows)
  pairs = np.unique(table[:, 0] * items + table[:, 1], return_index=True)[1]  # nobody takes a thing twice
  return table[np.sort(pairs)]


def split(table: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Events of training in time (user, item, time), and the held-out item of each user; -1 where it occurs nowhere else.

  Users and items are numbered from 0 on, items by the events of training alone.
  """
  user = np.unique(table[:, 0], return_inverse=True)[1]
  order = np.lexsort((np.arange(len(table)), table[:, 2], user))  # what has one time stays in the order of the file
  user, item, moment = user[order], table[order, 1], table[order, 2]
  is_last = np.append(user[1:] != user[:-1], True)
  names, items = np.unique(item[~is_last], return_inverse=True)
  place = np.minimum(np.searchsorted(names, item[is_last]), len(names) - 1)
  held_out = np.where(names[place] == item[is_last], place, -1)
  return {'user': user[~is_last], 'item': items, 'time': moment[~is_last]}, held_out


def measure(ranked: np.ndarray, held_out: np.ndarray) -> dict[str, np.ndarray]:
  """NDCG@10 and recall@10 of each user, of lists [U, 10]; a target that cannot be ranked counts as missed."""
  from mlsd_jax import ranking_measures

  hits = (ranked == held_out[:, None]) & (ranked >= 0)
  one = np.ones((len(hits), 1))
  ndcg = ranking_measures.ndcg(hits.astype(float), one, DEPTH)
  return {'NDCG@10': ndcg, 'recall@10': ranking_measures.recall(hits, one[:, 0], DEPTH)}


def compare(options: argparse.Namespace) -> None:
  from mlsd_jax import resampling

  name, table = read(options.data, options.seed)
  if options.users:
    table = table[table[:, 0] < np.unique(table[:, 0])[: options.users].max() + 1]
  events, held_out = split(table)
  users, items = len(held_out), int(events['item'].max()) + 1
  updates = options.epochs * -(-users // options.batch)
  print(f'{name}: {users:,} users, {items:,} items, {len(events["item"]):,} events and one held out of each user;')
  shape = f'width {options.width}, {options.layers} layers, {options.length} events'
  print(f'{shape}, {updates} updates of {options.batch} users')
  print(f'{"":<20}{"NDCG@10":>26}{"recall@10":>26}{"seconds":>9}', flush=True)

  def show(what: str, ranked: np.ndarray, seconds: float) -> None:
    cells = [str(resampling.bootstrap(values)) for values in measure(ranked, held_out).values()]
    print(f'{what:<20}' + ''.join(f'{cell:>26}' for cell in cells) + f'{seconds:9.0f}', flush=True)

  show('popular', popular(events, users, items), 0.0)
  with tempfile.TemporaryDirectory() as folder:
    np.savez(pathlib.Path(folder, 'events.npz'), **events)
    for model in options.models.split(','):
      show(model, *train(model, events, users, items, updates, options))
      if options.peer_python:
        ask_peer(model, pathlib.Path(folder), options, show)
  if not options.peer_python:
    print('no --peer_python: RecTools was not run')


def ask_peer(
  model: str, folder: pathlib.Path, options: argparse.Namespace, show: Callable[[str, np.ndarray, float], None]
) -> None:
  given = {**vars(options), 'data': str(folder), 'model': model}
  call = [options.peer_python, __file__, f'--answer={json.dumps(given)}']
  try:
    done = subprocess.run(call, capture_output=True, text=True, check=False)
  except OSError as error:
    return print(f'rectools {model:<11} not run: {options.peer_python}: {error.strerror}')
  if done.returncode:
    return print(f'rectools {model:<11} not run: {(done.stderr.strip().splitlines() or ["no word"])[-1][:140]}')
  return show(f'rectools {model}', np.load(folder / 'ranked.npy'), json.loads((folder / 'seconds.json').read_text()))


def popular(events: dict[str, np.ndarray], users: int, items: int) -> np.ndarray:
  scores = np.tile(np.bincount(events['item'], minlength=items).astype(float), (users, 1))
  return best_unseen(scores, events)


def best_unseen(scores: np.ndarray, events: dict[str, np.ndarray]) -> np.ndarray:
  """[U, 10] the best by scores [U, I] that each user has not had."""
  scores = scores.copy()
  scores[events['user'], events['item']] = -np.inf
  return np.argsort(-scores, axis=1, kind='stable')[:, :DEPTH]


def train(
  kind: str, events: dict[str, np.ndarray], users: int, items: int, updates: int, options: argparse.Namespace
) -> tuple[np.ndarray, float]:
  """Lists [U, 10] of our model, and how long it trained."""
  from mlsd_jax.models.sequential import SequentialConfig, item_vectors
  from mlsd_jax.recsys.purchases.histories import Histories
  from mlsd_jax.recsys.stages.sequence_examples import SequenceBatches
  from mlsd_jax.recsys.stages.sequence_source import SequenceSource
  from mlsd_jax.recsys.stages.sequences import sequence_task
  from mlsd_jax.training.config import TrainConfig
  from mlsd_jax.training.loop import fit
  from mlsd_jax.training.optimizers import OptimizerConfig

  model = SequentialConfig(
    items,
    kind='hstu' if kind == 'hstu' else 'sasrec',
    block='plain' if kind == 'sasrec' else 'ligr',
    sequence_length=options.length,
    embed_dim=options.width,
    num_layers=options.layers,
    num_heads=options.heads,
    dropout=options.dropout,
  )
  histories = Histories(
    np.searchsorted(events['user'], np.arange(users + 2)),
    events['item'].astype(np.int32) + 1,
    (events['time'] - events['time'].min()).astype(np.int32),
    int(events['time'].min()),
  )
  optimizer = OptimizerConfig(
    name='adamw',
    learning_rate=options.rate,
    schedule='linear',
    weight_decay=0.0,
    beta2=0.98,
    warmup_steps=updates // 20,
  )
  settings = TrainConfig(
    updates, options.batch, seed=options.seed, steps_per_dispatch=10, log_every=100, optimizer=optimizer
  )
  batches = SequenceBatches(
    histories,
    items,
    length=options.length,
    batch_size=options.batch,
    negatives=max(8 * options.negatives // options.batch, 1),
    seed=options.seed,
  )
  task = sequence_task(model, batch_size=options.batch, loss='sampled_softmax' if kind == 'esasrec' else 'softmax')
  with tempfile.TemporaryDirectory() as folder:
    began = time.perf_counter()
    params = fit(task, batches, None, settings, folder).params
    seconds = time.perf_counter() - began
  source = SequenceSource(params, model, np.asarray(item_vectors(params, model)), None)
  later = int(events['time'].max()) + 1
  return best_unseen(source.users(histories, np.arange(users), later) @ source.items.T, events), seconds


def answer(given: dict) -> None:
  """Runs in the peer's environment, in which there is nothing of this project."""
  import os

  import pandas as pd
  import torch
  from pytorch_lightning import Trainer, seed_everything
  from rectools import Columns
  from rectools.dataset import Dataset
  from rectools.models import HSTUModel, SASRecModel
  from rectools.models.nn.transformers.ligr import LiGRLayers

  torch.set_num_threads(len(os.sched_getaffinity(0)))
  seed_everything(given['seed'])
  folder, kind = pathlib.Path(given['data']), given['model']
  events = np.load(folder / 'events.npz')
  moments = pd.to_datetime(events['time'] - events['time'].min(), unit='s')
  table = {Columns.User: events['user'], Columns.Item: events['item'], Columns.Weight: 1.0, Columns.Datetime: moments}
  dataset = Dataset.construct(pd.DataFrame(table))
  quiet = dict(accelerator='cpu', logger=False, enable_checkpointing=False, enable_progress_bar=False)
  settings = {
    'n_blocks': given['layers'],
    'n_heads': given['heads'],
    'n_factors': given['width'],
    'dropout_rate': given['dropout'],
    'session_max_len': given['length'],
    'lr': given['rate'],
    'batch_size': given['batch'],
    'epochs': given['epochs'],
    'get_trainer_func': lambda **_: Trainer(max_epochs=given['epochs'], devices=1, enable_model_summary=False, **quiet),
  }
  if kind == 'esasrec':
    settings |= {'loss': 'sampled_softmax', 'n_negatives': given['negatives'], 'transformer_layers_type': LiGRLayers}
  began = time.perf_counter()
  model = (HSTUModel if kind == 'hstu' else SASRecModel)(**settings).fit(dataset)
  seconds = time.perf_counter() - began
  users, last = np.unique(events['user'][::-1], return_index=True)
  asked = None
  if kind == 'hstu':  # it has to be told when; a second after what was last, as ours takes it too
    moment = moments[::-1][last] + pd.Timedelta(seconds=1)
    asked = pd.DataFrame({Columns.User: users, Columns.Weight: 1.0, Columns.Datetime: moment})
  found = model.recommend(users=users, dataset=dataset, k=DEPTH, filter_viewed=True, context=asked)
  ranked = np.full((len(users), DEPTH), -1)
  ranked[found[Columns.User].to_numpy(), found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
  np.save(folder / 'ranked.npy', ranked)
  (folder / 'seconds.json').write_text(json.dumps(seconds))


if __name__ == '__main__':
  main()
