"""The rank of a pair's right passage among its negatives."""

import numpy as np

from mlsd_jax.encoder import pair_ranks
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.encoder.examples import Pair


class ByLetter(Encoder):
  """Vectors whose product is 1 for texts that begin alike, else 0."""

  def __init__(self):
    pass

  def encode(self, texts, kind='passage', *, progress=None):
    return np.eye(128, dtype=np.float32)[[ord(text[0]) for text in texts]]


def test_ranks_and_their_summary():
  pairs = [Pair('a', 'a', ('b', 'c')), Pair('a', 'a', ('a', 'b')), Pair('a', 'b', ('a', 'c', 'd')), Pair('a', 'b')]
  ranks = pair_ranks.right_ranks(ByLetter(), pairs)
  assert ranks.tolist() == [1, 2, 4, 1]  # a tie counts against the right passage
  assert pair_ranks.summary(ranks) == {'accuracy': 0.5, 'mrr': (1 + 1 / 2 + 1 / 4 + 1) / 4}
