"""How well an encoder or a cross-encoder tells the right passage of a pair from its negatives."""

from collections.abc import Sequence

import numpy as np

from mlsd_jax.encoder.encoder import CrossEncoder, Encoder
from mlsd_jax.encoder.examples import Pair


def right_ranks(model: Encoder | CrossEncoder, pairs: Sequence[Pair]) -> np.ndarray:
  """Ranks [N], from 1, of each pair's right passage among it and the pair's negatives; a tie counts against it."""
  ranks = []
  for pair, scores in zip(pairs, _scores(model, pairs), strict=True):
    assert len(scores) == 1 + len(pair.negatives)
    ranks.append(1 + int(np.sum(scores[1:] >= scores[0])))
  return np.array(ranks)


def summary(ranks: np.ndarray) -> dict[str, float]:
  """accuracy: share of queries with the right passage first. mrr: mean reciprocal rank."""
  return {'accuracy': float(np.mean(ranks == 1)), 'mrr': float(np.mean(1.0 / ranks))}


def _scores(model: Encoder | CrossEncoder, pairs: Sequence[Pair]) -> list[np.ndarray]:
  """Of each pair the scores of its passages, the right one first."""
  passages = [passage for pair in pairs for passage in (pair.passage, *pair.negatives)]
  counts = [1 + len(pair.negatives) for pair in pairs]
  queries = [pair.query for pair, count in zip(pairs, counts, strict=True) for _ in range(count)]
  if isinstance(model, CrossEncoder):
    scores = model.score_pairs(list(zip(queries, passages, strict=True)))
  else:
    vectors_QD = model.encode([pair.query for pair in pairs], 'query')
    scores = np.sum(np.repeat(vectors_QD, counts, axis=0) * model.encode(passages, 'passage'), axis=1)
  return np.split(scores, np.cumsum(counts)[:-1])
