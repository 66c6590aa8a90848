"""Several rankings made one: by reciprocal ranks, or by weighted normalised scores."""

from collections.abc import Hashable, Mapping, Sequence

type Ranking[T: Hashable] = Mapping[T, float]  # page -> score, higher is better


FUSIONS = ('weighted', 'rrf')


def fuse[T: Hashable](name: str, rankings: Sequence[Ranking[T]], weights: Sequence[float]) -> dict[T, float]:
  """One of FUSIONS."""
  return (weighted_fusion if name == 'weighted' else reciprocal_rank_fusion)(rankings, weights)


def reciprocal_rank_fusion[T: Hashable](
  rankings: Sequence[Ranking[T]], weights: Sequence[float], *, constant: float = 60
) -> dict[T, float]:
  """Sum of weight / (constant + rank) over the rankings an item is in (Cormack, Clarke and Buettcher 2009)."""
  fused: dict[T, float] = {}
  for ranking, weight in zip(rankings, weights, strict=True):
    for rank, item in enumerate(best(ranking), start=1):
      fused[item] = fused.get(item, 0.0) + weight / (constant + rank)
  return fused


def weighted_fusion[T: Hashable](rankings: Sequence[Ranking[T]], weights: Sequence[float]) -> dict[T, float]:
  """Sum of weight times score, each ranking's scores brought to [0, 1] by its least and greatest.

  An item that a ranking lacks gets 0 of it, as if it had come last (min-max normalisation and CombSUM: Lee 1997).
  """
  fused: dict[T, float] = {}
  for ranking, weight in zip(rankings, weights, strict=True):
    if not ranking:
      continue
    low, high = min(ranking.values()), max(ranking.values())
    for item, score in ranking.items():
      fused[item] = fused.get(item, 0.0) + weight * ((score - low) / (high - low) if high > low else 1.0)
  return fused


def best[T: Hashable](ranking: Ranking[T], number: int | None = None) -> list[T]:
  """Items by falling score; equal scores in the order of the ranking."""
  return sorted(ranking, key=ranking.__getitem__, reverse=True)[:number]
