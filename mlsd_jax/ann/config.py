"""How an index is built and searched, and what is chosen by size."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal, Self

from mlsd_jax.errors import UserError

Kind = Literal['auto', 'exact', 'ah', 'tree']
EXACT_UNDER, TREE_FROM = 20_000, 100_000
HASHED_FROM = 16  # dimensions: fewer are too few codes to tell neighbours apart
SMALLEST = 256  # vectors a quantiser can be trained on; fewer are always searched exactly


@dataclasses.dataclass(frozen=True)
class IndexConfig:
  """What to build, and how hard to search it.

  ScaNN (Guo et al. 2020, arXiv:1908.10396) looks at the `leaves_to_search` partitions nearest to the query and scores
  what is in them by asymmetric hashing (AH: 4 bits for each `dims_per_block` dimensions); the best `reorder` of those
  it scores again by vectors of `reorder_dtype`; the best few of these are scored last by the stored vectors.

  Attributes:
    kind: 'exact', 'ah' (all vectors by hash), 'tree' (partitions, then hash); 'auto' takes exact under 20,000 vectors a
      shard or under 16 dimensions, ah under 100,000 vectors, tree from there on. A shard of under 256 vectors is always
      exact.
    leaves: partitions of a shard; None is the square root of its size.
    leaves_to_search: partitions looked at; None is a sixteenth of them, and 40 at least.
    dims_per_block: dimensions that share one hash code.
    anisotropic_threshold: weight of the error along the vector in training the codes (the paper's T); NaN is none.
    reorder: candidates scored again by ScaNN; raised to what k needs.
    reorder_dtype: what ScaNN keeps in memory for that: 'float32', 'bfloat16', 'int8', or 'none' to score them from the
      stored vectors instead, which are memory-mapped.
    stored: dtype of the vectors kept for exact scores, filters and rebuilding: 'float32', 'bfloat16' or 'int8'.
    training_sample: vectors that partitions and codes are trained on.
    shard_size: vectors a shard at most; a build holds about three times that in memory.
    delta_limit: added vectors searched exactly before they are built into a shard of their own.
  """

  kind: Kind = 'auto'
  leaves: int | None = None
  leaves_to_search: int | None = None
  dims_per_block: int = 2
  anisotropic_threshold: float = 0.2
  reorder: int = 100
  reorder_dtype: Literal['float32', 'bfloat16', 'int8', 'none'] = 'int8'
  stored: Literal['float32', 'bfloat16', 'int8'] = 'float32'
  training_sample: int = 100_000
  shard_size: int = 1_000_000
  delta_limit: int = EXACT_UNDER

  def __post_init__(self) -> None:
    for name, allowed in (
      ('kind', ('auto', 'exact', 'ah', 'tree')),
      ('reorder_dtype', ('float32', 'bfloat16', 'int8', 'none')),
      ('stored', ('float32', 'bfloat16', 'int8')),
    ):
      if getattr(self, name) not in allowed:
        raise UserError(f'IndexConfig({name}={getattr(self, name)!r}): it is one of {", ".join(allowed)}')
    for name in ('leaves', 'leaves_to_search'):
      if getattr(self, name) is not None:
        _whole(name, getattr(self, name))
    for name in ('dims_per_block', 'reorder', 'training_sample', 'shard_size', 'delta_limit'):
      _whole(name, getattr(self, name))
    threshold = self.anisotropic_threshold
    if not isinstance(threshold, int | float) or not (math.isnan(threshold) or 0 <= threshold < 1):
      raise UserError(f'IndexConfig(anisotropic_threshold={threshold!r}): it is at least 0 and under 1, or NaN')

  def to_json(self) -> dict[str, Any]:
    """Fields by name; JSON has no NaN, so a threshold that is off is null."""
    threshold = None if math.isnan(self.anisotropic_threshold) else self.anisotropic_threshold
    return dataclasses.asdict(self) | {'anisotropic_threshold': threshold}

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> Self:
    """What `to_json` gave."""
    threshold = values['anisotropic_threshold']
    return cls(**dict(values) | {'anisotropic_threshold': math.nan if threshold is None else threshold})

  def kind_for(self, count: int, dim: int | None = None) -> Literal['exact', 'ah', 'tree']:
    """The kind of a shard of `count` vectors of `dim` dimensions, of many if that is not said."""
    if count < SMALLEST or self.kind == 'exact' or (self.kind == 'auto' and dim is not None and dim < HASHED_FROM):
      return 'exact'
    if self.kind != 'auto':
      return self.kind
    return 'exact' if count < EXACT_UNDER else 'ah' if count < TREE_FROM else 'tree'

  def leaves_for(self, count: int) -> int:
    """Partitions of a shard of `count` vectors."""
    return min(self.leaves or math.isqrt(count), count)

  def searched_for(self, leaves: int) -> int:
    """Partitions looked at, of `leaves`."""
    return min(self.leaves_to_search or max(leaves // 16, 40), leaves)


def _whole(name: str, value: object) -> None:
  if isinstance(value, bool) or not isinstance(value, int) or value < 1:
    raise UserError(f'IndexConfig({name}={value!r}): it is a whole number of at least 1')
