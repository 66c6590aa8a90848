"""Training an MLP of Values on labelled points: by the interpreter, or compiled with all steps in one dispatch."""

import dataclasses
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mlsd_jax.autograd.compiler import compile_graph
from mlsd_jax.autograd.engine import Value
from mlsd_jax.autograd.nn import MLP
from mlsd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Settings:
  """Full-batch gradient descent, as in micrograd's demo where momentum is 0.

  Attributes:
    hidden: widths of the hidden layers.
    learning_rate: of the first step; it falls linearly to a tenth.
    l2: weight of the sum of squared parameters in the loss.
  """

  hidden: tuple[int, ...] = (16, 16)
  steps: int = 100
  learning_rate: float = 1.0
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
  settings: Settings,
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
      raise _diverged(step, settings) from error
    for i, parameter in enumerate(parameters):
      velocity[i] = settings.momentum * velocity[i] + parameter.grad
      parameter.data -= rate * velocity[i]
    losses.append(loss.data)
    accuracies.append(np.mean((np.array([score.data for score in scores]) > 0) == (labels > 0)))
    on_step(step + 1, loss.data)
  trail.append([p.data for p in parameters])
  seconds = time.perf_counter() - began
  return History(np.array(losses), np.array(accuracies), np.array(trail), 0.0, seconds)


def train_compiled(model: MLP, points: np.ndarray, labels: np.ndarray, settings: Settings) -> History:
  """As train_interpreted, with one step recorded, compiled and repeated by lax.scan in a single dispatch.

  Raises:
    UserError: the loss is no longer a finite number.
  """
  began = time.perf_counter()
  parameters = model.parameters()
  loss, scores = svm_loss(model, points, labels, settings.l2)
  program = compile_graph([loss, *scores], parameters)
  of_loss = np.eye(1, program.num_outputs)[0]

  def train(arrays: Any, start: jax.Array, rates: jax.Array) -> Any:
    def step(carry: Any, rate: jax.Array) -> Any:
      numbers, velocity = carry
      outputs, gradient = program.pure_value_and_grad(arrays, numbers, jnp.asarray(of_loss))
      velocity = settings.momentum * velocity + gradient
      return (numbers - rate * velocity, velocity), (outputs, numbers)

    (last, _), (outputs, before) = lax.scan(step, (start, jnp.zeros_like(start)), rates)
    return outputs, before, last

  with jax.enable_x64(True):
    start = jnp.array([p.data for p in parameters], jnp.float64)
    arguments = (program.arrays, start, jnp.asarray(settings.rates()))
    run = jax.jit(train).lower(*arguments).compile()
    prepared = time.perf_counter()
    outputs, before, last = (np.asarray(each) for each in run(*arguments))
  finished = time.perf_counter()
  losses = outputs[:, 0]
  if not np.isfinite(losses).all():
    raise _diverged(int(np.argmin(np.isfinite(losses))), settings)
  for parameter, number in zip(parameters, last.tolist(), strict=True):
    parameter.data = number
  accuracies = ((outputs[:, 1:] > 0) == (labels > 0)).mean(axis=1)
  trail = np.concatenate([before, last[None]])
  counts = program.num_nodes, program.num_operations
  return History(losses, accuracies, trail, prepared - began, finished - prepared, *counts)


def _diverged(step: int, settings: Settings) -> UserError:
  return UserError(f'the loss is no finite number at step {step}; lower learning_rate (now {settings.learning_rate})')


class Scorer:
  """Scores of many points under many versions of the parameters: one neuron graph, compiled and vectorised."""

  def __init__(self, hidden: Sequence[int]):
    model = network(hidden, seed=0)
    point = [Value(0.0), Value(0.0)]
    program = compile_graph([model(point)], [*point, *model.parameters()])

    def scores(arrays: Any, parameters: jax.Array, points: jax.Array) -> jax.Array:
      one = lambda xy: program.forward(arrays, jnp.concatenate([xy, parameters]))[0]
      return jax.vmap(one)(points)

    self._arrays, self._scores = program.arrays, jax.jit(scores)

  def __call__(self, parameters: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Scores (n,) of `points` (n, 2)."""
    with jax.enable_x64(True):
      return np.asarray(self._scores(self._arrays, jnp.asarray(parameters), jnp.asarray(points)))
