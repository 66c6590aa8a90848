"""Several rankings made one: by reciprocal ranks, or by weighted normalised scores."""

from collections.abc import Mapping, Sequence

type Ranking = Mapping[str, float]  # page or chunk -> score, higher is better


def reciprocal_rank_fusion(rankings: Sequence[Ranking], weights: Sequence[float], *, constant: float = 60) -> Ranking:
  """Sum of weight / (constant + rank) over the rankings an item is in (Cormack, Clarke and Buettcher 2009)."""
  fused: dict[str, float] = {}
  for ranking, weight in zip(rankings, weights, strict=True):
    for rank, item in enumerate(best(ranking), start=1):
      fused[item] = fused.get(item, 0.0) + weight / (constant + rank)
  return fused


def weighted_fusion(rankings: Sequence[Ranking], weights: Sequence[float]) -> Ranking:
  """Sum of weight times score, each ranking's scores brought to [0, 1] by its least and greatest.

  An item that a ranking lacks gets 0 of it, as if it had come last (min-max normalisation and CombSUM: Lee 1997).
  """
  fused: dict[str, float] = {}
  for ranking, weight in zip(rankings, weights, strict=True):
    if not ranking:
      continue
    low, high = min(ranking.values()), max(ranking.values())
    for item, score in ranking.items():
      fused[item] = fused.get(item, 0.0) + weight * ((score - low) / (high - low) if high > low else 1.0)
  return fused


def best(ranking: Ranking, number: int | None = None) -> list[str]:
  """Items by falling score; equal scores in the order of the ranking."""
  return sorted(ranking, key=ranking.__getitem__, reverse=True)[:number]
