"""Other libraries' recommenders on the week that finished runs held out, each in an environment of its own; one table.

    python benchmarks/recsys_peers.py --workdir=runs/recsys/quickstart --workdir=runs/recsys/uci
    python benchmarks/recsys_peers.py --workdir=DIR --also=DIR --peers=implicit-bm25

Every peer learns from all purchases before the week and names 1,000 items for each user that the run was judged on;
what is missing is filled up with best sellers. implicit (ALS, BM25 item to item) and RecTools (EASE on the 5,000 items
that sell most) get one number a user and item: the logarithm of purchases that lose half their weight in 90 days;
LightFM (WARP) gets it as the weight of the pair. The run's own rows are those of its table. LightGBM on our candidates:
--also=DIR, a run of the same purchases with --config.ranker.kind=lightgbm. Minutes are by the clock, MB the most
that the process held (of a run both are in its result.json). Needs uv and a package index. LightFM itself does not
build on today's Pythons; what is installed is its fork lightfm-next, which needs Python 3.12 and no more than that.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping

import numpy as np

PACKAGES = {
  'implicit-als': 'implicit',
  'implicit-bm25': 'implicit',
  'rectools-ease': 'rectools',
  'lightfm-warp': 'lightfm-next',
}
OURS = ('popular', 'repurchase', 'repurchase + popular', 'tower', 'blend', 'ranker')
METRICS = ('map@12', 'recall@100')
DEPTH, HALF, COMMON = 1000, 90.0, 5000


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--workdir', action='append', type=pathlib.Path, help='of a finished run; several times')
  parser.add_argument(
    '--also', action='append', type=pathlib.Path, default=[], help='of a run of the same purchases by another ranker'
  )
  parser.add_argument('--peers', default=','.join(PACKAGES))
  parser.add_argument('--peer', help=argparse.SUPPRESS)
  parser.add_argument('--folder', type=pathlib.Path, help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.peer:
    return answer(options.peer, options.folder)
  for workdir in options.workdir or [pathlib.Path('runs/recsys/quickstart')]:
    compare(workdir, options.also, options.peers.split(','))
  return None


def compare(workdir: pathlib.Path, also: list[pathlib.Path], peers: list[str]) -> None:
  import polars as pl
  from ml_collections import ConfigDict

  from mlsd_jax import resampling, sealed
  from mlsd_jax.recsys import settings
  from mlsd_jax.recsys.judging import measures
  from mlsd_jax.recsys.purchases import weeks
  from mlsd_jax.recsys.purchases.events import DAY
  from mlsd_jax.recsys.stages.candidates import fill

  config = ConfigDict(sealed.read_json(workdir / 'config.json'))
  data, judged = settings.read_dataset(config), pl.read_parquet(workdir / 'evaluation.parquet')
  cut = weeks.list_cuts(data, 1)[0]
  users = judged.filter(pl.col('stage') == judged['stage'][0])['user'].sort().to_numpy()
  targets, history = weeks.find_targets(data, cut).only(users), data.before(cut)
  age = (cut - history['time'].to_numpy()) / DAY
  again = history.group_by('user', 'item').agg((pl.col('time') // DAY).n_unique().alias('days'))['days']
  lately = np.bincount(history['item'].to_numpy()[age <= 7], minlength=data.num_items)
  best = np.argsort(-lately, kind='stable')[: 2 * DEPTH].astype(np.int32)
  print(
    f'\n{data.name}, the week from {weeks.first_day(cut)} on: {len(users):,} users, {len(targets.user):,} purchases'
  )
  print(f'{"":<24}' + ''.join(f'{metric:>26}' for metric in METRICS) + f'{"minutes":>10}{"MB":>8}')

  def show(name: str, values: Mapping[str, np.ndarray], took: str = '') -> None:
    cells = [str(resampling.bootstrap(values[metric])) for metric in METRICS]
    print(f'{name:<24}' + ''.join(f'{cell:>26}' for cell in cells) + took, flush=True)

  for stage in (stage for stage in OURS if stage in set(judged['stage']) and stage != 'ranker'):
    show(stage, judged.filter(pl.col('stage') == stage).to_dict(as_series=False))
  for folder in (workdir, *also):
    result, kind = json.loads((folder / 'result.json').read_text()), sealed.read_json(folder / 'config.json')['ranker']
    of_ranker = pl.read_parquet(folder / 'evaluation.parquet').filter(pl.col('stage') == 'ranker').sort('user')
    if not np.array_equal(of_ranker['user'].to_numpy(), users):
      raise SystemExit(f'{folder} was judged on other users than {workdir}')
    took = f'{result["train_seconds"] / 60:10.1f}{result.get("peak_memory_mb", float("nan")):8.0f}'
    show(f'ranker ({kind["kind"]})', of_ranker.to_dict(as_series=False), took)
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    columns = {'user': history['user'].to_numpy(), 'item': history['item'].to_numpy(), 'age': age, 'users': users}
    sizes = {'num_users': data.num_users, 'num_items': data.num_items, 'again': bool((again > 1).mean() >= 1e-3)}
    np.savez(folder / 'history.npz', **columns, **sizes)
    for peer in peers:
      own = ['uv', 'run', '--no-project', '--python', os.path.realpath(sys.executable)]
      call = [*own, '--with', PACKAGES[peer], 'python', __file__, f'--peer={peer}', f'--folder={folder}']
      done = subprocess.run(call, capture_output=True, text=True, check=False)
      if done.returncode:
        print(f'{peer:<24} not run: {done.stderr.strip().splitlines()[-1][:120]}')
        continue
      took = json.loads((folder / f'{peer}.json').read_text())
      values = measures.evaluate(users, fill(np.load(folder / f'{peer}.npy'), best), targets, data.num_items)
      show(peer, values, f'{took["seconds"] / 60:10.1f}{took["mb"]:8.0f}')


def answer(peer: str, folder: pathlib.Path) -> None:
  """Runs in a peer's environment, in which there is nothing of this project."""
  import scipy.sparse as sp

  given = np.load(folder / 'history.npz')
  shape = int(given['num_users']), int(given['num_items'])
  weights = (0.5 ** (given['age'] / HALF)).astype(np.float32)
  matrix = sp.csr_matrix((weights, (given['user'], given['item'])), shape)  # adds up what stands there twice
  matrix.data = np.log1p(10 * matrix.data)
  users, leave_out = given['users'], not bool(given['again'])
  known = np.diff(matrix.indptr)[users] > 0
  lists = np.full((len(users), DEPTH), -1, np.int32)
  began = time.perf_counter()
  ask = {'implicit': ask_implicit, 'rectools': ask_rectools, 'lightfm-next': ask_lightfm}[PACKAGES[peer]]
  found = ask(peer, matrix, users[known], leave_out)
  lists[known, : found.shape[1]] = found
  seconds = time.perf_counter() - began
  np.save(folder / f'{peer}.npy', lists)
  mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  (folder / f'{peer}.json').write_text(json.dumps({'seconds': seconds, 'mb': mb}))


def ask_implicit(peer, matrix, users, leave_out) -> np.ndarray:
  from implicit.als import AlternatingLeastSquares
  from implicit.nearest_neighbours import BM25Recommender

  als = AlternatingLeastSquares(factors=128, regularization=0.05, alpha=10.0, iterations=15, random_state=0)
  model = als if peer == 'implicit-als' else BM25Recommender(K=200)
  model.fit(matrix, show_progress=False)
  depth = min(DEPTH, matrix.shape[1])
  items, scores = model.recommend(users, matrix[users], N=depth, filter_already_liked_items=leave_out)
  return np.where(np.isfinite(scores) & (scores > -1e30) & ((scores != 0) | (peer == 'implicit-als')), items, -1)


def ask_rectools(peer, matrix, users, leave_out) -> np.ndarray:
  import pandas as pd
  from rectools import Columns
  from rectools.dataset import Dataset
  from rectools.models import EASEModel

  del peer
  sold = np.asarray((matrix > 0).sum(0)).ravel()
  common = np.sort(np.argsort(-sold, kind='stable')[:COMMON])
  few = matrix[:, common].tocoo()
  table = {Columns.User: few.row, Columns.Item: common[few.col], Columns.Weight: few.data}
  interactions = pd.DataFrame(table | {Columns.Datetime: pd.Timestamp('2020-01-01')})
  dataset = Dataset.construct(interactions)
  model = EASEModel(regularization=500.0).fit(dataset)
  there = np.isin(users, few.row)
  depth = min(DEPTH, len(common))
  found = model.recommend(users=users[there], dataset=dataset, k=depth, filter_viewed=leave_out)
  lists = np.full((len(users), depth), -1, np.int32)
  row = np.searchsorted(users, found[Columns.User].to_numpy())  # users ascend
  lists[row, found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
  return lists


def ask_lightfm(peer, matrix, users, leave_out) -> np.ndarray:
  from lightfm import LightFM

  del peer
  pairs = matrix.tocoo()
  there = type(pairs)((np.ones(pairs.nnz, np.float32), (pairs.row, pairs.col)), pairs.shape)
  model = LightFM(no_components=64, loss='warp', learning_rate=0.05, random_state=0)
  model.fit(there, sample_weight=pairs, epochs=20, num_threads=len(os.sched_getaffinity(0)))
  depth = min(DEPTH, matrix.shape[1])
  lists = []
  for few in np.array_split(users, -(-len(users) // 256)):
    # A user's own bias is the same for every item.
    scores = model.user_embeddings[few] @ model.item_embeddings.T + model.item_biases
    if leave_out:
      scores[matrix[few].nonzero()] = -np.inf
    items = np.argsort(-scores, axis=1, kind='stable')[:, :depth]
    lists.append(np.where(np.isfinite(np.take_along_axis(scores, items, 1)), items, -1))
  return np.concatenate(lists)


if __name__ == '__main__':
  main()
