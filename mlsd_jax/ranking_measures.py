"""Ranking measures, a value for each query; see resampling.py for how sure their means are.

Gains are the judged grades and the discount is log2 (nDCG as Jarvelin and Kekalainen 2002, and as trec_eval's
ndcg_cut); recall, MRR and MAP take every grade above 0 as relevant (Manning et al. 2008, chapter 8). Equal scores are
ranked as the run lists them.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from mlsd_jax.errors import UserError

type Judgements = Mapping[str, Mapping[str, int]]  # query id -> page id -> grade
type Run = Mapping[str, Sequence[str]]  # query id -> page ids, the best first


def ndcg(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
  """Discounted gain of the first k over that of the best order; grades below 0 count as 0."""
  best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k]
  ideal = sum(grade / math.log2(place + 2) for place, grade in enumerate(best))
  gained = sum(max(grades.get(page, 0), 0) / math.log2(place + 2) for place, page in enumerate(ranked[:k]))
  return gained / ideal


def recall(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
  """Share of the relevant pages among the first k."""
  return sum(grades.get(page, 0) > 0 for page in ranked[:k]) / sum(grade > 0 for grade in grades.values())


def reciprocal_rank(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
  """1 / the place of the first relevant page among the first k, else 0."""
  return next((1 / place for place, page in enumerate(ranked[:k], start=1) if grades.get(page, 0) > 0), 0.0)


def average_precision(ranked: Sequence[str], grades: Mapping[str, int], k: int) -> float:
  """Mean over all relevant pages of the precision at each one's place; 0 for one that is not among the first k."""
  hits, total = 0, 0.0
  for place, page in enumerate(ranked[:k], start=1):
    if grades.get(page, 0) > 0:
      hits += 1
      total += hits / place
  return total / sum(grade > 0 for grade in grades.values())


_MEASURES: dict[str, Callable[[Sequence[str], Mapping[str, int], int], float]] = {
  'ndcg': ndcg,
  'recall': recall,
  'mrr': reciprocal_rank,
  'map': average_precision,
}


def per_query(run: Run, judgements: Judgements, measure: str) -> np.ndarray:
  """A measure of every judged query with a relevant page, in the order of `judgements`; 0 for one the run lacks.

  Args:
    measure: 'ndcg@10', 'recall@100', 'mrr@10', 'map@1000', ...

  Raises:
    UserError: no such measure, or no query has a relevant page.
  """
  found = re.fullmatch(r'(\w+)@([1-9]\d*)', measure)
  if not found or found[1] not in _MEASURES:
    raise UserError(f'no measure {measure!r}; there are {", ".join(f"{name}@K" for name in _MEASURES)}')
  function, k = _MEASURES[found[1]], int(found[2])
  judged = [(query, grades) for query, grades in judgements.items() if any(grade > 0 for grade in grades.values())]
  if not judged:
    raise UserError('no query has a page judged relevant')
  return np.array([function(run.get(query, ()), grades, k) for query, grades in judged])
