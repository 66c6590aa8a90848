"""Training an MLP of Values on labelled points, node by node by the interpreter. Needs no JAX."""

import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np

from mlsd_jax.autograd.engine import Value
from mlsd_jax.autograd.nn import MLP
from mlsd_jax.errors import UserError
from mlsd_jax.schema import above


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
  """Full-batch gradient descent, as in micrograd's demo where momentum is 0.

  Attributes:
    hidden: widths of the hidden layers.
    learning_rate: of the first step; it falls linearly to a tenth.
    l2: weight of the sum of squared parameters in the loss.
  """

  hidden: tuple[int, ...] = (16, 16)
  steps: int = 100
  learning_rate: Annotated[float, above(0)] = 1.0
  momentum: float = 0.0
  l2: float = 1e-4

  def __post_init__(self) -> None:
    if self.steps < 1:
      raise UserError(f'steps must be at least 1, not {self.steps}')
    if not all(isinstance(width, int) and width > 0 for width in self.hidden):
      raise UserError(f'hidden holds the widths of layers, whole numbers above 0, not {self.hidden}')
    if not self.learning_rate > 0:
      raise UserError(f'learning_rate must be above 0, not {self.learning_rate}')
    if not 0 <= self.momentum < 1:
      raise UserError(f'momentum must be from 0 to below 1, not {self.momentum}')

  def rates(self) -> np.ndarray:
    """The learning rate of each step (steps,)."""
    return self.learning_rate * (1 - 0.9 * np.arange(self.steps) / self.steps)


@dataclasses.dataclass(frozen=True)
class History:
  """What a training was.

  Attributes:
    losses, accuracies: (steps,), of the training points before each step.
    parameters: (steps + 1, number of parameters), before each step and after the last.
    prepare_seconds: recording and compiling; 0 for the interpreter.
    run_seconds: all steps.
    num_nodes: of the graph of one step.
    num_operations: array operations these became; 0 for the interpreter.
  """

  losses: np.ndarray
  accuracies: np.ndarray
  parameters: np.ndarray
  prepare_seconds: float
  run_seconds: float
  num_nodes: int = 0
  num_operations: int = 0


def network(hidden: Sequence[int], seed: int) -> MLP:
  """An MLP of two inputs and one output, its weights drawn by Python's random from `seed`."""
  random.seed(seed)
  return MLP(2, [*hidden, 1])


def svm_loss(model: MLP, points: np.ndarray, labels: np.ndarray, l2: float) -> tuple[Value, list[Value]]:
  """Mean of relu(1 - label * score) plus l2 * sum of squared parameters, and the score of each point."""
  scores = [model([Value(x), Value(y)]) for x, y in points.tolist()]
  margins = [(1 + -label * score).relu() for label, score in zip(labels.tolist(), scores, strict=True)]
  data_loss = sum(margins, Value(0.0)) * (1 / len(margins))
  return data_loss + l2 * sum((p * p for p in model.parameters()), Value(0.0)), scores


def train_interpreted(
  model: MLP,
  points: np.ndarray,
  labels: np.ndarray,
  settings: ClassifierConfig,
  on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> History:
  """Trains `model` in place, node by node.

  Args:
    on_step: called with the number of steps done and the loss.

  Raises:
    UserError: the loss is no longer a finite number.
  """
  parameters = model.parameters()
  velocity = [0.0] * len(parameters)
  losses, accuracies, trail = [], [], []
  began = time.perf_counter()
  for step, rate in enumerate(settings.rates().tolist()):
    trail.append([p.data for p in parameters])
    try:
      loss, scores = svm_loss(model, points, labels, settings.l2)
      model.zero_grad()
      loss.backward()
    except OverflowError as error:
      raise diverged(step, settings) from error
    for i, parameter in enumerate(parameters):
      velocity[i] = settings.momentum * velocity[i] + parameter.grad
      parameter.data -= rate * velocity[i]
    losses.append(loss.data)
    accuracies.append(np.mean((np.array([score.data for score in scores]) > 0) == (labels > 0)))
    on_step(step + 1, loss.data)
  trail.append([p.data for p in parameters])
  seconds = time.perf_counter() - began
  return History(np.array(losses), np.array(accuracies), np.array(trail), 0.0, seconds)


def diverged(step: int, settings: ClassifierConfig) -> UserError:
  """The mistake to raise when the loss is no finite number."""
  return UserError(f'the loss is no finite number at step {step}; lower learning_rate (now {settings.learning_rate})')
