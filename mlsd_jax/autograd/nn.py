"""Neurons, layers and multilayer perceptrons of `Value`s, with the interface of `micrograd.nn`.

Weights are drawn by Python's `random` in the same order as there: with the same seed both give the same network.
"""

import random
from collections.abc import Sequence
from typing import Any

from mlsd_jax.autograd.engine import Value


class Module:
  """Something with parameters."""

  def zero_grad(self) -> None:
    for parameter in self.parameters():
      parameter.grad = 0.0

  def parameters(self) -> list[Value]:
    return []


class Neuron(Module):
  """relu(w . x + b), or without the relu where `nonlin` is false."""

  def __init__(self, nin: int, nonlin: bool = True):
    self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
    self.b = Value(0.0)
    self.nonlin = nonlin

  def __call__(self, x: Sequence[Any]) -> Value:
    """
    Raises:
      ValueError: `x` has not one entry a weight.
    """
    if len(x) != len(self.w):
      raise ValueError(f'a neuron of {len(self.w)} inputs got {len(x)}')
    activation = self.b
    for weight, entry in zip(self.w, x, strict=True):
      activation = activation + weight * entry
    return activation.relu() if self.nonlin else activation

  def parameters(self) -> list[Value]:
    return [*self.w, self.b]

  def __repr__(self) -> str:
    return f'{"ReLU" if self.nonlin else "Linear"}Neuron({len(self.w)})'


class Layer(Module):
  """`nout` neurons over the same inputs; a single neuron gives its Value, several a list."""

  def __init__(self, nin: int, nout: int, **kwargs: Any):
    self.neurons = [Neuron(nin, **kwargs) for _ in range(nout)]

  def __call__(self, x: Sequence[Any]) -> Any:
    out = [neuron(x) for neuron in self.neurons]
    return out[0] if len(out) == 1 else out

  def parameters(self) -> list[Value]:
    return [parameter for neuron in self.neurons for parameter in neuron.parameters()]

  def __repr__(self) -> str:
    return f'Layer of [{", ".join(map(str, self.neurons))}]'


class MLP(Module):
  """Layers of `nouts` neurons, all with relu but the last.

  A hidden layer of one neuron works too (micrograd's fails there: it hands a bare Value to the next layer).
  """

  def __init__(self, nin: int, nouts: Sequence[int]):
    sizes = [nin, *nouts]
    self.layers = [Layer(sizes[i], sizes[i + 1], nonlin=i != len(nouts) - 1) for i in range(len(nouts))]

  def __call__(self, x: Any) -> Any:
    for layer in self.layers:
      x = layer([x] if isinstance(x, Value) else x)
    return x

  def parameters(self) -> list[Value]:
    return [parameter for layer in self.layers for parameter in layer.parameters()]

  def __repr__(self) -> str:
    return f'MLP of [{", ".join(map(str, self.layers))}]'
