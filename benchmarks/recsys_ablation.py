"""Each ingredient of the two towers left out in turn, over seeds: recall of the week held out.

python benchmarks/recsys_ablation.py                                  # generated purchases, a few minutes
python benchmarks/recsys_ablation.py --config=configs/recsys/quickstart.py --steps=300
"""

import argparse
import dataclasses
import pathlib
import tempfile

import numpy as np

from experiments import config_files
from mlsd_jax.recsys import settings, training
from mlsd_jax.recsys.judging import measures
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import candidates

VARIANTS = {
  'all': ({}, {}),
  'without factors': ({'factors': 0}, {}),
  'without log Q': ({'log_q': False}, {}),
  'without uniform negatives': ({'uniform_negatives': False}, {}),
  'without sequence': ({}, {'sequence_length': 0}),
  'without content': ({}, {'content': False}),
}


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--config', default='configs/recsys/synthetic.py')
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--steps', type=int, default=0)
  parser.add_argument('--only', nargs='*', default=list(VARIANTS), choices=list(VARIANTS), help='some of the rows')
  options = parser.parse_args()
  _, config = config_files.load_config(options.config)
  data, tower = settings.read_dataset(config), settings.read_towers(config)
  steps = options.steps or tower.train.steps
  train = dataclasses.replace(tower.train, steps=steps, eval_every=0, checkpoint_every=0, log_every=0)
  cut = weeks.list_cuts(data, 1)[0]
  state, bought = snapshot.take(data, cut), weeks.find_targets(data, cut)
  histories = Histories.from_events(data.events, data.num_users)
  cold = np.isin(bought.item, np.flatnonzero(state.column('item', 'n') < 5))
  popular = measures.evaluate(bought.users, candidates.popular(state, bought.users, 1000)[0], bought, data.num_items)
  print(
    f'{data.name}: {len(bought.users):,} users, {cold.sum():,} of {len(cold):,} purchases of items sold under 5 times'
  )
  print(f'{"":<28}{"recall@100":>22}{"recall@1000":>22}{"recall@1000, rare items":>26}')
  print(f'{"popular":<28}{popular["recall@100"].mean():22.4f}{popular["recall@1000"].mean():22.4f}')
  for name in options.only:
    ingredients, model = VARIANTS[name]
    whole, wide = [], []
    for seed in range(options.seeds):
      seeded = dataclasses.replace(train, seed=seed)
      variant = dataclasses.replace(tower, **ingredients, model={**tower.model, **model}, train=seeded, index='exact')
      with tempfile.TemporaryDirectory() as folder:
        retriever, fitted = training.train_towers(data, cut, variant, pathlib.Path(folder))
      if fitted.interrupted:  # what was learnt so far is no figure
        return
      vectors = retriever.users(histories, bought.users, cut)
      whole.append(_measure(retriever, vectors, state, bought, cold))
      vectors[:, : retriever.config.embed_dim] = 0.0
      wide.append(_measure(retriever, vectors, state, bought, cold))
    _tell(name, whole)
    if name == 'all':
      _tell('  of it what is counted alone', wide)


def _measure(retriever, vectors: np.ndarray, state, bought: weeks.Targets, cold: np.ndarray) -> tuple[float, ...]:
  """Recall at 100, at 1,000, and at 1,000 of rare items."""
  ranking, _ = retriever.source(vectors)(state, bought.users, min(1000, state.num_items))
  values = measures.evaluate(bought.users, ranking, bought, state.num_items)
  rows = np.searchsorted(bought.users, bought.user[cold])
  rare = (ranking[rows] == bought.item[cold][:, None]).any(1).mean() if cold.any() else float('nan')
  return float(values['recall@100'].mean()), float(values['recall@1000'].mean()), float(rare)


def _tell(name: str, recalls: list[tuple[float, ...]]) -> None:
  cells = [f'{mean:.4f} +- {spread:.4f}' for mean, spread in zip(np.mean(recalls, 0), np.std(recalls, 0), strict=True)]
  print(f'{name:<28}{cells[0]:>22}{cells[1]:>22}{cells[2]:>26}', flush=True)


if __name__ == '__main__':
  main()
