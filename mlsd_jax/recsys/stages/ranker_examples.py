"""What the ranker learns from: groups of candidates of one user and week.

Negatives are the candidates that were not bought. Of each group all purchases and some of the others are kept; the
logarithm of the share that was kept is kept beside them, so that a model learns the odds at the natural rate (prior
correction; King & Zeng 2001, section 4.1) and needs none when it serves.

Names: N groups, G candidates of a group, F dense features, L items of a user's history.
"""

import dataclasses
from collections.abc import Sequence

import chex
import numpy as np

from mlsd_jax.recsys.stages.candidates import Candidates, sort_best_first
from mlsd_jax.recsys.stages.labels import Labels
from mlsd_jax.recsys.stages.scorer import RankerInputs


@dataclasses.dataclass(frozen=True)
class Groups:
  """Training examples: dense [N, G, F], item [N, G], user_codes [N, columns], bag [N, L], labels [N, G, heads],
  offset [N] (log of the kept share of purchases over that of the others), weights [N, G] (0
  fills a group up); teacher [N, G] where another ranker's log-odds are learnt from, too."""

  arrays: dict[str, np.ndarray]

  def __len__(self) -> int:
    return len(self.arrays['offset'])

  @classmethod
  def join(cls, parts: Sequence['Groups'], seed: int = 0) -> 'Groups':
    """All of several weeks in one shuffled order, so that a batch is a slice."""
    order = np.random.default_rng(seed).permutation(sum(map(len, parts)))
    return cls({name: np.concatenate([part.arrays[name] for part in parts])[order] for name in parts[0].arrays})

  def taught(self, teacher: np.ndarray) -> 'Groups':
    """The same with the log-odds [N, G] of a teacher."""
    return Groups(self.arrays | {'teacher': teacher})


def make_groups(candidates: Candidates, inputs: RankerInputs, labels: Labels, *, size: int, seed: int = 0) -> Groups:
  """One group a user who bought a candidate: up to size / 2 of the purchases, the rest drawn from the others.

  Args:
    inputs: of the candidates.
    size: at least 2, a purchase and another.
  """
  chex.assert_scalar_in(size, 2, np.inf)
  chex.assert_equal_shape_prefix([candidates.item, inputs.item, labels.bought], 1)
  rng = np.random.default_rng(seed)
  row, bought = candidates.row, labels.bought
  # Purchases lie above 1 and so come first, the others behind them in random order: keeping the first is drawing.
  order = sort_best_first(row, rng.random(len(row)).astype(np.float32) + bought)
  place = np.arange(len(order)) - candidates.start[row[order]]
  num_bought = np.bincount(row, bought, minlength=len(candidates.users)).astype(np.int64)
  kept_bought = np.minimum(num_bought, size // 2)
  num_others = np.diff(candidates.start) - num_bought
  kept_others = np.minimum(num_others, size - kept_bought)
  row_of, is_bought = row[order], bought[order]
  slot = np.where(is_bought, place, place - num_bought[row_of] + kept_bought[row_of])
  keep = np.where(is_bought, place < kept_bought[row_of], slot < (kept_bought + kept_others)[row_of])
  keep &= (num_bought > 0)[row_of]
  group = np.cumsum(num_bought > 0) - 1
  chosen, group_of, slot = order[keep], group[row_of[keep]], slot[keep]
  users = num_bought > 0
  number = int(users.sum())

  def spread(values: np.ndarray) -> np.ndarray:
    out = np.zeros((number, size, *values.shape[1:]), values.dtype)
    out[group_of, slot] = values[chosen]
    return out

  # Leaving out others raises the odds of a purchase by just this ratio. Its logarithm is added to the logits in
  # training, so that the weights learn the odds before anything was left out. Of none, none was left out.
  share = lambda kept, all_: np.where(all_ > 0, kept / np.maximum(all_, 1), 1.0)
  shares = share(kept_bought, num_bought) / share(kept_others, num_others)
  heads = np.stack([bought, labels.soon, np.log1p(labels.quantity)], 1).astype(np.float32)
  return Groups(
    {
      'dense': spread(inputs.dense),
      'item': spread(inputs.item),
      'user_codes': inputs.user_codes[users],
      'bag': inputs.bags[users],
      'labels': spread(heads),
      'offset': np.log(shares[users]).astype(np.float32),
      'weights': spread(np.ones(len(row), np.float32)),
    }
  )
