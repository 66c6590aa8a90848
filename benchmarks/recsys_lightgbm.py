"""Our ranker and LightGBM's LambdaRank on the same candidates and features of a finished run, in one go.

    uv run --with lightgbm python benchmarks/recsys_lightgbm.py --workdir=runs/recsys/quickstart

Both are trained on the same weeks before the one held out; LightGBM also gets the items' codes as numbers. Its
objective `binary` is shown beside `lambdarank`, also with users weighed by one over the root of their purchases.
"""

import argparse
import dataclasses
import pathlib
import time

import lightgbm as lgb
import numpy as np
from ml_collections import ConfigDict

from mlsd_jax import resampling, sealed
from mlsd_jax.recsys import funnel, preparation, saved_state, settings
from mlsd_jax.recsys.judging import measures
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.stages import labels


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--workdir', default='runs/recsys/quickstart')
  parser.add_argument('--rounds', type=int, default=400)
  parser.add_argument('--rate', type=float, default=0.04)
  options = parser.parse_args()
  workdir = pathlib.Path(options.workdir)
  config = ConfigDict(sealed.read_json(workdir / 'config.json'))
  state = saved_state.load(workdir / 'state')
  data, recommender = settings.read_dataset(config), settings.read_recommender(config)
  cuts = weeks.choose_cuts(data, recommender.funnel.weeks)
  prepared = preparation.prepare(data, cuts, recommender, workdir / 'tower')
  assert prepared is not None
  groups, ready = prepared
  week, arrays = ready.week, groups.arrays
  trained = dataclasses.replace(state.funnel, retriever=ready.retriever, blend=ready.blend)
  scored = funnel.score(trained, week.union)
  best, inputs = scored.candidates, scored.inputs
  values = {'sparsenn': (scored.logits[:, 0], 0.0)}  # trained before, by the run
  known = arrays['weights'] > 0
  codes = trained.scorer.codes[:, : len(data.categories)]
  x = np.concatenate([arrays['dense'][known], codes[arrays['item'][known]]], 1)
  y, sizes = arrays['labels'][..., 0][known], known.sum(1)
  asked = np.concatenate([inputs.dense, codes[inputs.item]], 1)
  # A user with n purchases weighs n^-1/2; for the binary objective, which has no groups.
  by_root = np.repeat(np.minimum(arrays['labels'][..., 0].sum(1), 12.0) ** -0.5, sizes)
  common = {'num_leaves': 31, 'min_data_in_leaf': 100, 'feature_fraction': 0.5, 'bagging_fraction': 0.7, 'verbose': -1}
  common |= {'bagging_freq': 1, 'learning_rate': options.rate, 'seed': 0}
  variants = {'lambdarank': {'group': sizes}, 'binary': {}, 'binary, users weighed': {'weight': by_root}}
  for name, given in variants.items():
    began = time.perf_counter()
    model = lgb.train(common | {'objective': name.split(',')[0]}, lgb.Dataset(x, y, **given), options.rounds)
    values[f'lightgbm {name}'] = (model.predict(asked).astype(np.float32), time.perf_counter() - began)
  print(f'{len(y):,} training candidates, {x.shape[1]} features, {len(best.item):,} candidates judged')
  by_user = {}
  for name, (score, seconds) in values.items():
    metrics = measures.evaluate(best.users, best.ranked(score, trained.keep), week.targets, data.num_items)
    by_user[name] = metrics['map@12']
    cells = '  '.join(f'{metric} {resampling.bootstrap(metrics[metric])}' for metric in ('map@12', 'recall@100'))
    print(f'{name:<32} {cells}' + (f'  {seconds:6.1f} s of training' if seconds else ''))
  for name in list(values)[1:]:
    compared = measures.compare(by_user['sparsenn'], by_user[name])
    ratio = by_user['sparsenn'].mean() / by_user[name].mean()
    print(f'map@12, sparsenn - {name}: {compared.difference}, p = {compared.p:.4f}, ratio {ratio:.3f}')
  bought = labels.label(best, week.targets, data.num_items).bought
  print(f'{bought.mean():.2%} of the candidates judged were bought')


if __name__ == '__main__':
  main()
