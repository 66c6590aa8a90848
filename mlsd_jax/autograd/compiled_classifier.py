"""Training the MLP of classifier.py compiled, all steps in one dispatch, and its scores of many points at once."""

import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mlsd_jax.autograd.classifier import ClassifierConfig, History, diverged, network, svm_loss
from mlsd_jax.autograd.compiler import compile_graph
from mlsd_jax.autograd.engine import Value
from mlsd_jax.autograd.nn import MLP


def train_compiled(model: MLP, points: np.ndarray, labels: np.ndarray, settings: ClassifierConfig) -> History:
  """As classifier.train_interpreted, with one step recorded, compiled and repeated by lax.scan in a single dispatch.

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
    raise diverged(int(np.argmin(np.isfinite(losses))), settings)
  for parameter, number in zip(parameters, last.tolist(), strict=True):
    parameter.data = number
  accuracies = ((outputs[:, 1:] > 0) == (labels > 0)).mean(axis=1)
  trail = np.concatenate([before, last[None]])
  counts = program.num_nodes, program.num_operations
  return History(losses, accuracies, trail, prepared - began, finished - prepared, *counts)


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
