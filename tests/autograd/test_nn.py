"""Networks of Values as micrograd's users know them."""

import random

import pytest

from mlsd_jax.autograd.engine import Value
from mlsd_jax.autograd.nn import MLP, Layer, Module, Neuron


def test_a_neuron_computes_and_learns():
  neuron = Neuron(2)
  for parameter, number in zip(neuron.parameters(), (2.0, -1.0, 0.5), strict=True):
    parameter.data = number
  out = neuron([3.0, Value(4.0)])
  assert out.data == 2.5
  out.backward()
  assert [parameter.grad for parameter in neuron.parameters()] == [3, 4, 1]
  neuron.zero_grad()
  assert [parameter.grad for parameter in neuron.parameters()] == [0, 0, 0]
  assert neuron([-3.0, 4.0]).data == 0
  linear = Neuron(1, nonlin=False)
  linear.w[0].data = -1.0
  assert linear([2.0]).data == -2


def test_shapes_names_and_seeds():
  random.seed(5)
  model = MLP(2, [3, 1])
  assert repr(model) == ('MLP of [Layer of [ReLUNeuron(2), ReLUNeuron(2), ReLUNeuron(2)], Layer of [LinearNeuron(3)]]')
  assert len(model.parameters()) == 13
  random.seed(5)
  assert [p.data for p in model.layers[0].neurons[0].w] == [random.uniform(-1, 1), random.uniform(-1, 1)]
  assert isinstance(model([1.0, 2.0]), Value)
  assert len(Layer(2, 3)([1.0, 2.0])) == 3
  assert isinstance(MLP(2, [1, 1])([1.0, 2.0]), Value)
  assert Module().parameters() == []


def test_wrong_number_of_inputs():
  with pytest.raises(ValueError, match='a neuron of 2 inputs got 3'):
    MLP(2, [1])([1.0, 2.0, 3.0])
