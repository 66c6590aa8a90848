"""A compiled graph gives the interpreter's values and gradients."""

import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax.autograd import classifier, compiled_classifier, compiler, datasets, nn
from mlsd_jax.autograd.compiler import compile_graph
from mlsd_jax.autograd.engine import Value
from mlsd_jax.autograd.functions import gradients, softmax


def assert_same(outputs, inputs, at=None):
  """Compiled against interpreted: values of all outputs, and the gradient of the first."""
  program = compile_graph(outputs, inputs)
  values, gradient = program.value_and_grad([each.data for each in inputs] if at is None else at)
  outputs[0].zero_grad()
  for each in inputs:
    each.grad = 0.0
  outputs[0].backward()
  np.testing.assert_allclose(values, [each.data for each in outputs], rtol=1e-12, atol=1e-12)
  np.testing.assert_allclose(gradient, [each.grad for each in inputs], rtol=1e-12, atol=1e-12)
  assert values.dtype == gradient.dtype == np.float64
  return program


def every_operation(a, b, c):
  rest = (a * b - c) / (b * b + 1) + (-a).exp() + (b * b + 0.5).log() + (c * 2).tanh() - a.sigmoid()
  powers = (a * a + 0.1) ** b + abs(c) ** 1.5 + a**3 + 2**b + (b**2 + 1) ** -0.5 + a**0
  kinks = a.relu() + abs(b) + a.max(b) * b.max(c) + 3 * c.sign() + a.greater(c) * b + a.max(a)
  return rest + powers * 0.5 - kinks


@pytest.fixture(params=['grouped', 'loop'])
def way(request, monkeypatch):
  if request.param == 'loop':
    monkeypatch.setattr(compiler, 'MOST_GROUPS', 0)
  return request.param


def test_every_operation(way):
  draw = random.Random(0)
  triples = [[Value(draw.uniform(-2, 2)) for _ in range(3)] for _ in range(20)]
  inputs = [each for triple in triples for each in triple]
  outs = [every_operation(*triple) for triple in triples]
  program = assert_same([sum(outs, Value(0.0)), *outs], inputs)
  assert bool(program.num_operations) == (way == 'grouped')


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from('+-*nt^m'), st.integers(0, 20), st.integers(0, 20)), min_size=1, max_size=40))
def test_random_graphs(steps):
  nodes = [Value(0.7), Value(-1.3), Value(0.4), Value(2.0)]
  inputs = nodes[:3]  # the fourth is a constant
  for step, i, j in steps:
    a, b = nodes[-1 - i % len(nodes)], nodes[j % len(nodes)]
    made = {'+': lambda: a + b, '-': lambda: a - b, '*': lambda: a * b, 'n': lambda: -a, 't': a.tanh}
    made |= {'^': lambda: a.tanh() ** 2, 'm': lambda: a.max(b)}
    node = made[step]()
    nodes.append(node.tanh() if abs(node.data) > 4 else node)
  assert_same([nodes[-1], nodes[len(nodes) // 2]], inputs)


def test_long_sums_with_signs_and_shared_parts():
  inputs = [Value(0.1 * i - 0.7) for i in range(20)]
  short = inputs[0] + inputs[1]
  part = sum((x * x for x in inputs[:10]), short)
  total = part - sum(inputs[5:], Value(3.0)) - (-(inputs[3] + sum(inputs[:9], Value(0.0)))) + part.tanh() + inputs[0]
  for x in inputs:
    total = total - x * inputs[2] + 1
  program = assert_same([total, part, short, total], inputs)
  assert program.num_operations < 12


def test_at_other_inputs(way):
  a, b = Value(1.0), Value(2.0)
  program = compile_graph([(a * b).relu() + a.max(b)], [a, b])
  for x, y in ((3.0, -1.0), (-2.0, -5.0), (0.5, 4.0)):
    one, two = Value(x), Value(y)
    out = (one * two).relu() + one.max(two)
    out.backward()
    values, gradient = program.value_and_grad([x, y])
    np.testing.assert_allclose([*values, *gradient], [out.data, one.grad, two.grad], rtol=1e-12)
    np.testing.assert_allclose(program([x, y]), values)


def test_a_network():
  random.seed(3)
  model = nn.MLP(3, [6, 5, 2])
  outs = [softmax(model([0.1 * i, -0.2, 0.5 * i]))[i % 2].log() for i in range(12)]
  assert_same([-sum(outs, Value(0.0)), *outs], model.parameters())


def test_second_derivatives_compile(way):
  x, y = Value(0.6), Value(1.1)
  first = gradients((x * y).tanh() * x.exp() + y**3 / x + x.sigmoid() + (x - y).relu() ** 2, [x, y])
  assert_same(gradients(first[0], [x, y]), [x, y])


def test_edges_of_graphs(way):
  x, unused, inner = Value(3.0), Value(5.0), Value(2.0) * 4
  assert_same([x], [x, unused])
  assert_same([Value(7.0), x * 2], [x])
  program = compile_graph([inner * x], [inner, x])
  np.testing.assert_allclose(program.value_and_grad([5.0, 2.0])[1], [2, 5])
  values, gradient = compile_graph([x * 2, x * 3], [x]).value_and_grad([1.0], cotangents=[10.0, 1.0])
  np.testing.assert_allclose([*values, *gradient], [2, 3, 23])
  assert compile_graph([Value(1.0) + 2], []).value_and_grad([])[0] == 3


def test_a_deep_graph_runs_as_a_loop():
  x = Value(0.3)
  y = x
  for i in range(20_000):
    y = (y * 1.0001 + x * 1e-5) if i % 2 else y.tanh() + y * 0.2
  program = assert_same([y], [x])
  assert program.num_operations == 0


def test_where_the_interpreter_raises_compiled_numbers_are_ieee(way):
  x = Value(1.0)
  program = compile_graph([1 / x, x.log(), x.exp()], [x])
  assert program([0.0]).tolist() == [np.inf, -np.inf, 1]
  assert np.isnan(program([-1.0])[1])
  assert program([1000.0])[2] == np.inf


def test_bad_calls():
  x = Value(1.0)
  with pytest.raises(ValueError, match='2 inputs'):
    compile_graph([x], [x, Value(1.0)])([1.0])
  with pytest.raises(ValueError, match='twice'):
    compile_graph([x], [x, x])
  with pytest.raises(ValueError, match='without outputs'):
    compile_graph([], [x])


def test_the_project_stays_float32():
  x = Value(1.0)
  compile_graph([x * x], [x]).value_and_grad([2.0])
  assert jnp.ones(1).dtype == jnp.float32
  assert not jax.config.jax_enable_x64


@pytest.mark.parametrize('momentum', [0.0, 0.9])
def test_training_is_the_interpreters(momentum):
  points, labels = datasets.make('moons', 12, 0.1, 0)
  options = classifier.ClassifierConfig(hidden=(4, 3), steps=15, learning_rate=0.3, momentum=momentum)
  plain, fast = classifier.network((4, 3), 1), classifier.network((4, 3), 1)
  slow_history = classifier.train_interpreted(plain, points, labels, options)
  fast_history = compiled_classifier.train_compiled(fast, points, labels, options)
  for field in ('losses', 'accuracies', 'parameters'):
    np.testing.assert_allclose(getattr(fast_history, field), getattr(slow_history, field), rtol=1e-11, atol=1e-12)
  assert slow_history.losses[-1] < slow_history.losses[0]
  np.testing.assert_allclose([p.data for p in fast.parameters()], fast_history.parameters[-1])
  scores = compiled_classifier.Scorer((4, 3))(fast_history.parameters[-1], points)
  np.testing.assert_allclose(scores, [fast(point).data for point in points.tolist()], rtol=1e-12, atol=1e-12)
