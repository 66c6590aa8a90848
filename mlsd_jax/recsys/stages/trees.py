"""Gradient-boosted trees as the ranker, alone or averaged with SparseNN: the same candidates, features and serving.

LightGBM (Ke et al. 2017) with the LambdaRank objective (Burges 2010): trees are fitted to the gradients of a pairwise
loss, each pair weighed by what swapping it changes of nDCG. Its scores order a user's candidates and are no log-odds:
the straight line of calibration.py makes them such.
"""

import copy
import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.models.sparsenn import HEADS
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.ranker_examples import Groups
from mlsd_jax.recsys.stages.scorer import RankerInputs, Scorer, ranker_inputs
from mlsd_jax.schema import Positive, above, at_least

_FEATURES, _ROWS = 0.5, 0.7  # shares that a tree sees: what is left out differs from tree to tree


@dataclasses.dataclass(frozen=True)
class TreesConfig:
  """Settings of LightGBM.

  Attributes:
    rounds: trees.
    min_data_in_leaf: candidates.
  """

  rounds: Positive = 300
  learning_rate: Annotated[float, above(0)] = 0.04
  num_leaves: Annotated[int, at_least(2)] = 31
  min_data_in_leaf: Positive = 100


def check_installed() -> None:
  """Raises UserError where LightGBM is not installed."""
  _lightgbm()


def _lightgbm() -> Any:
  try:
    import lightgbm
  except ImportError:
    raise UserError('config.ranker.kind requires the package lightgbm: uv sync --extra trees') from None
  return lightgbm


class TreeScorer:
  """Trained trees on fixed tables, with the methods of Scorer.

  Attributes:
    text: of the model, as LightGBM writes it.
    codes: [num_items + 1, C] of the item table's rows.
    user_codes: [num_users + 1, columns].
    line: (slope, shift) that make a log-odds of its score.
  """

  def __init__(self, text: str, codes: np.ndarray, user_codes: np.ndarray, line: tuple[float, float] = (1.0, 0.0)):
    self.text, self.codes, self.user_codes, self.line = text, codes, user_codes, line
    self._booster = _lightgbm().Booster(model_str=text)

  @classmethod
  def fit(
    cls, groups: Groups, codes: np.ndarray, user_codes: np.ndarray, config: TreesConfig, seed: int = 0
  ) -> 'TreeScorer':
    """Trees that order the candidates of each group, the bought ones first."""
    library, arrays = _lightgbm(), groups.arrays
    there = arrays['weights'] > 0
    settings = dataclasses.asdict(config)
    rounds = settings.pop('rounds')
    settings |= {'objective': 'lambdarank', 'seed': seed, 'deterministic': True, 'force_row_wise': True}
    settings |= {'feature_fraction': _FEATURES, 'bagging_fraction': _ROWS, 'bagging_freq': 1, 'verbose': -1}
    known = np.concatenate([arrays['dense'][there], codes[arrays['item'][there]]], 1)
    labels = arrays['labels'][..., 0][there]
    booster = library.train(settings, library.Dataset(known, labels, group=there.sum(1)), rounds)
    return cls(booster.model_to_string(), codes, user_codes)

  def score_groups(self, groups: Groups) -> np.ndarray:
    """Log-odds [N, G] of training examples, for another ranker to learn from; 0 where a group is filled up."""
    arrays = groups.arrays
    there = arrays['weights'] > 0
    known = np.concatenate([arrays['dense'][there], self.codes[arrays['item'][there]]], 1)
    out = np.zeros(there.shape, np.float32)
    out[there] = self.line[0] * self._booster.predict(known, raw_score=True) + self.line[1]
    return out

  def with_users(self, user_codes: np.ndarray) -> 'TreeScorer':
    other = copy.copy(self)
    other.user_codes = user_codes
    return other

  def with_items(self, codes: np.ndarray) -> 'TreeScorer':
    other = copy.copy(self)
    other.codes = codes
    return other

  def calibrated(self, slope: float, shift: float) -> 'TreeScorer':
    other = copy.copy(self)
    other.line = _compose(self.line, slope, shift)
    return other

  def inputs(self, snapshot: Snapshot, candidates: Candidates, dense: np.ndarray) -> RankerInputs:
    return ranker_inputs(snapshot, candidates, dense, self.user_codes, 0)

  def __call__(self, inputs: RankerInputs, width: int = 0) -> np.ndarray:
    """Logits [N, heads]; of the heads behind the first trees say nothing, which is 0."""
    del width  # no shape is compiled here
    logits = np.zeros((len(inputs.item), len(HEADS)), np.float32)
    if len(logits):
      known = np.concatenate([inputs.dense, self.codes[inputs.item]], 1)
      score = self._booster.predict(known, raw_score=True, num_threads=1)
      logits[:, 0] = self.line[0] * score + self.line[1] + inputs.open_log
    return logits


class AverageScorer:
  """The mean log-odds of several rankers; the other heads are those of the first."""

  def __init__(self, parts: Sequence[Scorer | TreeScorer], line: tuple[float, float] = (1.0, 0.0)):
    self.parts, self.line = tuple(parts), line

  @property
  def codes(self) -> np.ndarray:
    return self.parts[0].codes

  @property
  def user_codes(self) -> np.ndarray:
    return self.parts[0].user_codes

  def with_users(self, user_codes: np.ndarray) -> 'AverageScorer':
    return AverageScorer([part.with_users(user_codes) for part in self.parts], self.line)

  def with_items(self, codes: np.ndarray) -> 'AverageScorer':
    return AverageScorer([part.with_items(codes) for part in self.parts], self.line)

  def calibrated(self, slope: float, shift: float) -> 'AverageScorer':
    return AverageScorer(self.parts, _compose(self.line, slope, shift))

  def inputs(self, snapshot: Snapshot, candidates: Candidates, dense: np.ndarray) -> RankerInputs:
    return self.parts[0].inputs(snapshot, candidates, dense)

  def __call__(self, inputs: RankerInputs, width: int = 0) -> np.ndarray:
    every = [part(inputs, width) for part in self.parts]
    logits = every[0].copy()
    mean = np.mean([each[:, 0] - inputs.open_log for each in every], axis=0)
    logits[:, 0] = self.line[0] * mean + self.line[1] + inputs.open_log
    return logits


type Ranker = Scorer | TreeScorer | AverageScorer


def _compose(line: tuple[float, float], slope: float, shift: float) -> tuple[float, float]:
  """The line that another one makes of a line."""
  return slope * line[0], slope * line[1] + shift
