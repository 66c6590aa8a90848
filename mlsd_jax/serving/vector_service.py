"""An encoder, and a cross-encoder where there is one, behind dynamic batches."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlsd_jax.encoder.encoder import Encoder, PairScorer
from mlsd_jax.serving.batching import Batcher


class VectorService:
  """Embeddings and relevance of texts.

  Attributes:
    name: by which requests ask for it.
    encoder: texts to unit vectors.
    cross_encoder: (query, passage) to relevance; without one it is the cosine similarity of their vectors.
  """

  def __init__(
    self,
    name: str,
    encoder: Encoder,
    cross_encoder: PairScorer | None = None,
    *,
    created: int = 0,
    max_waiting: int = 256,
    on_batch: Callable[[int, float], None] = lambda items, seconds: None,
  ):
    self.name, self.encoder, self.cross_encoder = name, encoder, cross_encoder
    self.created = created or int(time.time())
    most = encoder.model.max_length
    # A character is rarely more than a token: near enough for a budget, and it costs nothing.
    length = lambda text: min(len(text) // 3 + 3, most)
    options: dict[str, Any] = dict(max_waiting=max_waiting, on_batch=on_batch)
    self._embed = Batcher(name, self._compute_vectors, lambda item: length(item[1]), **options)
    self._score = Batcher(name, self._compute_scores, lambda pair: length(pair[0]) + length(pair[1]), **options)

  @property
  def batchers(self) -> tuple[Batcher, ...]:
    return self._embed, self._score

  @property
  def waiting(self) -> int:
    return sum(each.waiting for each in self.batchers)

  async def embed(self, texts: Sequence[str], kind: str = 'passage', client: str = '') -> np.ndarray:
    """Unit vectors [N, dim] float32.

    Args:
      kind: 'query' or 'passage'.

    Raises:
      ApiError: too many requests wait (429).
    """
    vectors = await self._embed([(kind, text) for text in texts], client)
    return np.stack(vectors) if vectors else np.zeros((0, self.encoder.dim), np.float32)

  async def relevance(self, query: str, passages: Sequence[str], client: str = '') -> np.ndarray:
    """[N] float32 from 0 to 1, higher is better: the cross-encoder's logit through a sigmoid, or the cosine similarity.

    Raises:
      ApiError: too many requests wait (429).
    """
    if self.cross_encoder is not None:
      scores = np.array(await self._score([(query, passage) for passage in passages], client), np.float32)
      return 1 / (1 + np.exp(-scores))
    asked, *vectors = await self._embed([('query', query), *(('passage', text) for text in passages)], client)
    return np.clip(np.array([vector @ asked for vector in vectors], np.float32), 0.0, 1.0)

  def count_tokens(self, texts: Sequence[str]) -> int:
    """As usage is counted: what the encoder reads of them."""
    most = self.encoder.model.max_length
    return sum(min(self.encoder.count_tokens(text) + 2, most) for text in texts)

  def warm_up(self) -> None:
    """Compiles the shapes of short texts."""
    for length in (4, 16, 64):
      self.encoder.encode(['word ' * length])

  def _compute_vectors(self, items: list[tuple[str, str]]) -> list[np.ndarray]:
    out: list[np.ndarray] = [np.zeros(0)] * len(items)
    for kind in ('query', 'passage'):
      chosen = [place for place, item in enumerate(items) if item[0] == kind]
      if chosen:
        for place, vector in zip(chosen, self.encoder.encode([items[i][1] for i in chosen], kind), strict=True):
          out[place] = vector
    return out

  def _compute_scores(self, pairs: list[tuple[str, str]]) -> list[float]:
    assert self.cross_encoder is not None
    return self.cross_encoder.score_pairs(pairs).tolist()

  async def close(self) -> None:
    await self._embed.close()
    await self._score.close()
