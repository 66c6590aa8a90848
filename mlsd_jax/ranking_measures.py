"""Ranking measures, a value for each query; see resampling.py for how sure their means are.

Gains are the judged grades and the discount is log2 (nDCG as Jarvelin and Kekalainen 2002, and as trec_eval's
ndcg_cut); recall, MRR and MAP take every grade above 0 as relevant (Manning et al. 2008, chapter 8). Equal scores are
ranked as the run lists them.

The measures work on arrays, a row a query: retrieval makes them of judgements and runs by id, the recommender of row
numbers. They are held to ir-measures (trec_eval's code) in the tests, and not taken from it: for 10,000 queries with
1,000 results each, nDCG@12, recall@1000 and MAP@12 took it 10.2 s of processor time (4.6 s of them to make its run of
scores by id), 3.6 times as long as `per_query` (2.8 s) and 10 times as long as the arrays alone (0.98 s).

Names: Q queries, K places of a ranking, M most relevant pages that any query has.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mlsd_jax.errors import UserError

type Judgements = Mapping[str, Mapping[str, int]]  # query id -> page id -> grade
type Run = Mapping[str, Sequence[str]]  # query id -> page ids, the best first


def ndcg(gains: np.ndarray, best: np.ndarray, k: int) -> np.ndarray:
  """nDCG@k [Q]: discounted gain of the first k over that of the best order; 0 where nothing can be gained.

  Args:
    gains: [Q, K] of each place, at least 0.
    best: [Q, M] of everything judged, the largest first.
  """
  gained, ideal = _discounted(gains[:, :k]).sum(1), np.cumsum(_discounted(best[:, :k]), 1)[:, -1]
  return gained / np.where(ideal > 0, ideal, 1.0)


def _discounted(gains: np.ndarray) -> np.ndarray:
  return gains / np.log2(np.arange(2, gains.shape[1] + 2))


def recall(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
  """Share [Q] of what is relevant that stands among the first k.

  Args:
    hits: [Q, K] bool, whether what stands at each place is relevant.
    relevant: [Q] how much is.
  """
  return hits[:, :k].sum(1) / np.maximum(relevant, 1)


def reciprocal_rank(hits: np.ndarray, k: int) -> np.ndarray:
  """[Q]: 1 / the place of the first relevant one among the first k, else 0."""
  top = hits[:, :k]
  return np.where(top.any(1), 1 / (top.argmax(1) + 1), 0.0)


def average_precision(hits: np.ndarray, relevant: np.ndarray, k: int, *, at_most_k: bool = False) -> np.ndarray:
  """AP@k [Q]: the sum of the precision at each hit among the first k, over all that is relevant.

  Args:
    hits: [Q, K] bool.
    relevant: [Q].
    at_most_k: divide by min(k, relevant), so that a full list of hits has 1 (Kaggle's MAP@12 of its H&M task).
  """
  top = hits[:, :k]
  precision = np.cumsum(top, 1) / np.arange(1, top.shape[1] + 1)
  return (precision * top).sum(1) / np.maximum(np.minimum(k, relevant) if at_most_k else relevant, 1)


_MEASURES: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
  'ndcg': ndcg,
  'recall': lambda gains, best, k: recall(gains > 0, (best > 0).sum(1), k),
  'mrr': lambda gains, best, k: reciprocal_rank(gains > 0, k),
  'map': lambda gains, best, k: average_precision(gains > 0, (best > 0).sum(1), k),
}


def per_query(run: Run, judgements: Judgements, measure: str) -> np.ndarray:
  """A measure of every judged query with a relevant page, in the order of `judgements`; 0 for one the run lacks.

  Args:
    measure: 'ndcg@10', 'recall@100', 'mrr@10', 'map@1000', ...

  Raises:
    UserError: no such measure, or no query has a relevant page.
  """
  named = re.fullmatch(r'(\w+)@([1-9]\d*)', measure)
  if not named or named[1] not in _MEASURES:
    raise UserError(f'no measure {measure!r}; there are {", ".join(f"{name}@K" for name in _MEASURES)}')
  k = int(named[2])
  judged = {query: grades for query, grades in judgements.items() if any(grade > 0 for grade in grades.values())}
  if not judged:
    raise UserError('no query has a page judged relevant')
  gains = [[grades.get(page, 0) for page in run.get(query, ())[:k]] for query, grades in judged.items()]
  best = [sorted((grade for grade in grades.values() if grade > 0), reverse=True) for grades in judged.values()]
  return _MEASURES[named[1]](np.maximum(_padded(gains), 0), _padded(best), k)


def _padded(rows: Sequence[Sequence[int]]) -> np.ndarray:
  """[Q, longest] with 0 behind the last of each row; one column at least."""
  out = np.zeros((len(rows), max(1, *map(len, rows))))
  for row, values in zip(out, rows, strict=True):
    row[: len(values)] = values
  return out
