"""The scalar engine against jax.grad and finite differences, and as a user of micrograd calls it."""

import copy
import gc
import math
import pickle
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlsd_jax.autograd import gradient_check
from mlsd_jax.autograd.engine import Value, no_grad, operands, topological
from mlsd_jax.autograd.functions import gradients, maximum, softmax

# No subnormal numbers: XLA on a CPU takes them for 0.
numbers = st.floats(-30, 30, allow_subnormal=False) | st.sampled_from(
  [0.0, -0.0, 1.0, -1.0, 1e-9, -1e-9, 1e-150, 1e9, -1e9]
)

UNARY = {
  'neg': (lambda a: -a, lambda a: -a),
  'abs': (abs, jnp.abs),
  'exp': (Value.exp, jnp.exp),
  'log': (Value.log, jnp.log),
  'tanh': (Value.tanh, jnp.tanh),
  'sigmoid': (Value.sigmoid, jax.nn.sigmoid),
  'relu': (Value.relu, jax.nn.relu),
  'sign': (Value.sign, jnp.sign),
  **{
    f'**{power}': (lambda a, power=power: a**power, lambda a, power=power: a**power)
    for power in (0, 1, 2, 3, -1, -2, 0.5, 2.5)
  },
  '+2': (lambda a: a + 2, lambda a: a + 2),
  '2+': (lambda a: 2 + a, lambda a: 2 + a),
  '-2': (lambda a: a - 2, lambda a: a - 2),
  '2-': (lambda a: 2 - a, lambda a: 2 - a),
  '*3': (lambda a: a * 3, lambda a: a * 3),
  '3*': (lambda a: 3 * a, lambda a: 3 * a),
  '/3': (lambda a: a / 3, lambda a: a / 3),
  '3/': (lambda a: 3 / a, lambda a: 3 / a),
  '2**': (lambda a: 2**a, lambda a: 2.0**a),
}
BINARY = {
  '+': (lambda a, b: a + b,) * 2,
  '-': (lambda a, b: a - b,) * 2,
  '*': (lambda a, b: a * b,) * 2,
  '/': (lambda a, b: a / b,) * 2,
  '**': (lambda a, b: a**b, lambda a, b: jnp.power(a, b)),
  'max': (lambda a, b: a.max(b), jnp.maximum),
}


def ours(function, *at):
  """(value, gradients), or the exception."""
  arguments = [Value(number) for number in at]
  try:
    out = function(*arguments)
    out.backward()
  except (ValueError, ArithmeticError) as error:
    return error
  return out.data, *[argument.grad for argument in arguments]


def jaxs(function, *at):
  with jax.enable_x64(True):
    at = [jnp.float64(number) for number in at]
    out, slopes = jax.value_and_grad(function, argnums=tuple(range(len(at))))(*at)
    return float(out), *map(float, slopes)


def assert_same(function, reference, *at):
  """Equal wherever JAX has a finite number; an exception only where it has not (an overflow within, 0 / 0)."""
  found, wanted = ours(function, *at), jaxs(reference, *at)
  if isinstance(found, Exception):
    assert not np.isfinite(wanted).all(), (found, wanted)
  else:
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(np.array(found)[finite], np.array(wanted)[finite], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize('name', UNARY)
def test_unary_operations_are_jaxs(name):
  @given(numbers)
  def check(a):
    assert_same(*UNARY[name], a)

  check()


@pytest.mark.parametrize('name', BINARY)
def test_binary_operations_are_jaxs(name):
  @given(numbers, numbers)
  def check(a, b):
    assert_same(*BINARY[name], a, b)

  check()


@pytest.mark.parametrize('name', BINARY)
def test_equal_operands(name):
  for a in (1.5, 1.0, 2.0):
    assert_same(lambda x, f=BINARY[name][0]: f(x, x), lambda x, f=BINARY[name][1]: f(x, x), a)


@pytest.mark.parametrize('name', [*UNARY, *BINARY])
def test_finite_differences(name):
  function = (UNARY | BINARY)[name][0]
  for at in ((0.7, 1.9), (2.3, 0.4)):
    gradient_check.check(function, at[: 1 + (name in BINARY)])


def test_gradient_check_finds_a_wrong_derivative():
  broken = lambda a: a * a.data  # hides half of the derivative
  with pytest.raises(AssertionError, match=r'argument 0 at 3\.0'):
    gradient_check.check(broken, [3.0])


@pytest.mark.parametrize(
  ('function', 'kind', 'message'),
  [
    (lambda: Value(1.0) / 0, ZeroDivisionError, r'1\.0 / 0\.0'),
    (lambda: 1 / Value(0), ZeroDivisionError, r'1\.0 / 0\.0'),
    (lambda: Value(0) ** -1, ZeroDivisionError, r'0\.0 \*\* -1'),
    (lambda: Value(-2).log(), ValueError, r'log\(-2\.0\)'),
    (lambda: Value(0).log(), ValueError, r'log\(0\.0\)'),
    (lambda: Value(-8) ** (1 / 3), ValueError, r'\(-8\.0\) \*\* 0\.333'),
    (lambda: Value(1000).exp(), OverflowError, r'exp\(1000\.0\)'),
    (lambda: Value(1e200) * 1e200, OverflowError, r'1e\+200 \* 1e\+200'),
    (lambda: Value(1e308) + 1e308, OverflowError, r'1e\+308 \+ 1e\+308'),
    (lambda: Value(-1e308) - 1e308, OverflowError, r'-1e\+308 - 1e\+308'),
    (lambda: Value(1e200) / 1e-200, OverflowError, r'1e\+200 / 1e-200'),
    (lambda: Value(1e200) ** 2, OverflowError, r'1e\+200 \*\* 2'),
    (lambda: (Value(0) ** 0.5).backward(), ZeroDivisionError, r'derivative of 0\.0 \*\* 0\.5'),
    (lambda: Value(1e-310).log().backward(), OverflowError, r'log\(1e-310\)'),
    (lambda: Value('3'), TypeError, "'3'"),
    (lambda: Value(3j), TypeError, 'complex'),
    (lambda: Value(1) + 'a', TypeError, 'unsupported operand'),
    (lambda: Value(1).max(None), TypeError, 'None'),
    (lambda: maximum([]), ValueError, 'no values'),
  ],
)
def test_bad_input_is_pythons_own_exception(function, kind, message):
  with pytest.raises(kind, match=message):
    function()


def test_infinities_put_in_are_computed_with():
  assert (Value(math.inf) + 1).data == math.inf
  assert math.isnan((Value(math.inf) - math.inf).data)
  assert Value(-math.inf).tanh().data == -1
  assert math.isnan(Value(math.nan).relu().data)


@given(st.floats(-1e308, 1e308))
def test_saturating_operations_never_overflow(a):
  assert abs(ours(Value.tanh, a)[0]) <= 1
  assert 0 <= ours(Value.sigmoid, a)[0] <= 1


@settings(max_examples=15)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6))
def test_softmax_is_jaxs(at):
  for i in range(len(at)):
    values = [Value(number) for number in at]
    probabilities = softmax(values)
    probabilities[i].backward()
    with jax.enable_x64(True):
      wanted, slopes = jax.value_and_grad(lambda x: jax.nn.softmax(x)[i])(jnp.array(at))
    np.testing.assert_allclose(probabilities[i].data, wanted, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose([value.grad for value in values], slopes, rtol=1e-12, atol=1e-15)
  assert sum(each.data for each in probabilities) == pytest.approx(1)


def test_backward_accumulates_and_zero_grad_clears():
  a, b = Value(2.0), Value(3.0)
  inner = a * b
  out = inner * inner
  out.backward()
  once = a.grad, b.grad, inner.grad, out.grad
  assert once == (36, 24, 12, 1)
  out.backward()
  assert (a.grad, b.grad, inner.grad, out.grad) == tuple(2 * each for each in once)
  out.zero_grad()
  assert (a.grad, b.grad, inner.grad, out.grad) == (0, 0, 0, 0)
  out.backward()
  assert (a.grad, b.grad, inner.grad, out.grad) == once


@pytest.mark.parametrize(
  'name', [name for name in UNARY if name not in ('abs', 'sign', 'relu')] + [n for n in BINARY if n != 'max']
)
def test_higher_derivatives_are_jaxs(name):
  @settings(max_examples=5)
  @given(st.floats(0.3, 3), st.floats(0.3, 3))
  def check(a, b):
    at = [a, b][: 1 + (name in BINARY)]
    function, reference = (UNARY | BINARY)[name]
    values = [Value(number) for number in at]
    first = gradients(function(*values) * function(*values), values)
    second = gradients(first[0], values)
    third = gradients(second[-1], values)
    with jax.enable_x64(True):
      points = [jnp.float64(number) for number in at]
      argnums = tuple(range(len(at)))
      one = jax.grad(lambda *x: reference(*x) ** 2, argnums)
      two = jax.grad(lambda *x: one(*x)[0], argnums)
      three = jax.grad(lambda *x: two(*x)[-1], argnums)
      for found, wanted in ((first, one), (second, two), (third, three)):
        wanted = [float(each) for each in wanted(*points)]
        np.testing.assert_allclose([each.data for each in found], wanted, rtol=1e-9, atol=1e-9)

  check()


def test_higher_derivatives_at_kinks_and_of_absent_inputs():
  x, y = Value(-2.0), Value(1.0)
  (slope,) = gradients(abs(x) * x, [x])
  assert slope.data == 4
  assert gradients(slope, [x, y])[0].data == -2
  assert gradients(slope, [y])[0].data == 0
  assert gradients(x, [x])[0].data == 1
  assert x.grad == 0


def test_a_million_nodes():
  """Differentiated, collected and freed without recursion."""
  x = Value(1.0)
  y = x
  for _ in range(1_000_000):
    y = -y
  y.backward()
  assert (y.data, x.grad) == (1.0, 1.0)
  assert len(topological(y)) == 1_000_001
  assert gradients(y, [x])[0].data == 1
  y.zero_grad()
  del y
  gc.collect()


def test_deep_graphs_pickle_and_copy():
  x = Value(1.0, label='x')
  y = x
  for _ in range(50_000):
    y = y * 1.0001
  y.backward()
  for other in (pickle.loads(pickle.dumps(y)), copy.deepcopy(y)):
    assert repr(other) == repr(y)
    leaf = next(node for node in topological(other) if node.label == 'x')
    assert leaf.grad == x.grad
    assert leaf is not x
    other.backward()
    assert leaf.grad == 2 * x.grad


def test_what_pickled_objects_share_stays_shared():
  a = Value(2.0)
  b = a * 3
  c = b + a
  for clone in (lambda v: pickle.loads(pickle.dumps(v)), copy.deepcopy):
    a2, b2, c2 = clone([a, b, c])
    assert operands(b2)[0] is a2
    assert operands(c2) == (b2, a2)
  b3 = copy.copy(b)
  assert b3 is not b
  assert operands(b3)[0] is a


def test_graphs_are_freed_without_the_collector():
  gc.collect()
  gc.disable()
  try:
    before = sum(isinstance(each, Value) for each in gc.get_objects())
    x = Value(0.5)
    out = sum((x * i).tanh() for i in range(100))
    out.backward()
    del out
    assert sum(isinstance(each, Value) for each in gc.get_objects()) == before + 1
  finally:
    gc.enable()


def test_no_grad():
  x = Value(3.0)
  with no_grad():
    with no_grad():
      pass
    y = x * x + x.exp()
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(x * x))
    thread.start()
    thread.join()
  assert not operands(y)
  assert operands(elsewhere[0]) == (x, x)
  assert operands(x * x)
  assert not operands(no_grad()(lambda: x + 1)())


def test_as_micrograd_shows_it():
  a, b = Value(2), Value(-1.5)
  c = a * b
  assert repr(c) == 'Value(data=-3.0, grad=0.0)'
  assert (c._prev, c._op, (a**2)._op, a.relu()._op) == ({a, b}, '*', '**2', 'ReLU')
  assert sorted([a, b]) == [b, a]
  assert max(a, b) is a
  assert float(a) == 2
  assert len({a, b, Value(2)}) == 3
  assert +a is a


def test_numpy_and_jax_numbers():
  x = Value(np.float32(1.5))
  for two in (np.float64(2), np.float32(2), np.int64(2), jnp.float32(2), np.array(2.0)):
    assert (x * two).data == 3
    assert (x**two).data == 2.25 if not hasattr(two, 'ndim') or isinstance(two, np.generic) else True
  assert (np.float64(2) * x).data == 3
  assert [each.data for each in np.array([1.0, 2.0]) * x] == [1.5, 3]
  assert [each.data for each in x * np.array([1.0, 2.0])] == [1.5, 3]


def test_shared_nodes():
  """A node used many times gets the sum over all its uses."""

  @settings(max_examples=30)
  @given(st.lists(st.sampled_from('+-*t'), min_size=1, max_size=12), st.floats(-1, 1))
  def check(steps, at):
    def build(x, tanh):
      seen = [x, x * 0.5]
      for i, step in enumerate(steps):
        a, b = seen[-1], seen[i % len(seen)]
        seen.append({'+': lambda: a + b, '-': lambda: a - b, '*': lambda: a * b, 't': lambda: tanh(a)}[step]())
      return seen[-1]

    found = ours(lambda x: build(x, Value.tanh), at)
    wanted = jaxs(lambda x: build(x, jnp.tanh), at)
    assume(np.isfinite(wanted).all())
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)

  check()
