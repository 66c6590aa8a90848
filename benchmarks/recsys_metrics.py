"""Our metrics and ranx's on the same random rankings.

uv run --with ranx python benchmarks/recsys_metrics.py
"""

import argparse

import numpy as np
from ranx import Qrels, Run
from ranx import evaluate as ranx_evaluate

from mlsd_jax.ranking_measures import average_precision, recall
from mlsd_jax.recsys.judging import measures
from mlsd_jax.recsys.purchases.weeks import Targets


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--users', type=int, default=5000)
  options = parser.parse_args()
  rng = np.random.default_rng(0)
  users, items, depth = options.users, 2000, 100
  ranking = np.argsort(rng.random((users, items)), 1)[:, :depth].astype(np.int32)
  bought = [np.unique(rng.choice(items, rng.integers(1, 40))) for _ in range(users)]
  user = np.repeat(np.arange(users, dtype=np.int32), [len(each) for each in bought])
  item = np.concatenate(bought).astype(np.int32)
  targets = Targets(0, user, item, np.zeros(len(user), np.float32), np.ones(len(user), np.float32))
  hits, relevant = measures.relevance(np.arange(users, dtype=np.int32), ranking, targets, items)
  ours = {
    'recall@100': recall(hits, relevant, 100),
    'ndcg@12': measures.binary_ndcg(hits, relevant, 12),
    'map@12': average_precision(hits, relevant, 12),
  }
  qrels = Qrels({f'u{u}': {f'i{i}': 1 for i in each} for u, each in enumerate(bought)})
  run = Run({f'u{u}': {f'i{i}': float(depth - place) for place, i in enumerate(row)} for u, row in enumerate(ranking)})
  theirs = ranx_evaluate(qrels, run, list(ours), return_mean=False)
  # ranx orders its queries by name.
  order = np.argsort(np.array([f'u{u}' for u in range(users)]))
  for name, values in ours.items():
    off = min(abs(np.asarray(theirs[name]) - values).max(), abs(np.asarray(theirs[name]) - values[order]).max())
    print(f'{name:<12} ours {values.mean():.6f}  ranx {np.mean(theirs[name]):.6f}  largest difference {off:.1e}')


if __name__ == '__main__':
  main()
