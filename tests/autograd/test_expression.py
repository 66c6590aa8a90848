"""Expressions become the graphs that Python would have made of them, and nothing else is read."""

import jax
import jax.numpy as jnp
import pytest

from mlsd_jax.autograd import parse_expression
from mlsd_jax.autograd.engine import topological
from mlsd_jax.errors import UserError

FUNCTIONS = {
  'exp': jnp.exp,
  'log': jnp.log,
  'tanh': jnp.tanh,
  'sigmoid': jax.nn.sigmoid,
  'relu': jax.nn.relu,
  'abs': jnp.abs,
  'max': jnp.maximum,
}


@pytest.mark.parametrize(
  'text',
  [
    'a * b + c',
    'tanh(a * b) / (c - 2.5)',
    '-a + +b - -c',
    'a**2 - 2**a + a**b',
    'log(a) * exp(-b) + sigmoid(c) - relu(a - 10) + abs(c)',
    'max(a, b) * max(c, 1)',
    '(a + a) * a',
    '+'.join(['a * b'] * 150),
  ],
)
def test_value_and_gradients_are_those_of_jax(text):
  values = {'a': 1.5, 'b': 0.7, 'c': -1.2}
  values = {name: value for name, value in values.items() if name in text}
  with jax.enable_x64(True):
    expected, gradients = jax.value_and_grad(lambda leaves: eval(text, FUNCTIONS | leaves))(values)
  root = parse_expression(text, values)
  root.backward()
  assert root.data == pytest.approx(float(expected), rel=1e-12)
  found = {node.label: node.grad for node in topological(root) if node.label}
  assert found == pytest.approx({name: float(value) for name, value in gradients.items()}, rel=1e-12)


def test_methods_are_read_as_functions_and_numbers_alone_have_a_value():
  assert parse_expression('(a * 2).tanh()', {'a': 0.3}).data == parse_expression('tanh(a * 2)', {'a': 0.3}).data
  assert parse_expression(' 2 ** 10 ', {}).data == 1024
  assert parse_expression('7', {}).data == 7


@pytest.mark.parametrize(
  ('text', 'values', 'message'),
  [
    ('', {}, 'no expression'),
    ('a +', {'a': 1}, 'no expression'),
    ('a b', {'a': 1}, 'no expression'),
    ('a = 1', {'a': 1}, 'no expression'),
    ('a + b', {'a': 1.0}, "'b' has no value"),
    ('a', {'a': 1.0, 'b': 2.0}, "'b' has a value and does not occur"),
    ('__import__("os")', {}, "no function '__import__'"),
    ('a.__class__', {'a': 1.0}, 'not read here'),
    ('a.data', {'a': 1.0}, 'not read here'),
    ('a if a else a', {'a': 1.0}, 'not read here'),
    ('"a" * 3', {}, 'not read here'),
    ('True + 1', {}, 'not read here'),
    ('1j * 2', {}, 'not read here'),
    ('a // 2', {'a': 1.0}, 'not read here'),
    ('tanh(a, a)', {'a': 1.0}, 'tanh takes 1 values, not 2'),
    ('tanh(x=a)', {'a': 1.0}, 'not read here'),
    ('max(a)', {'a': 1.0}, 'max takes 2 values, not 1'),
    ('a / (a - a)', {'a': 1.0}, 'has no value'),
    ('log(0 - a)', {'a': 1.0}, 'has no value'),
    ('(-8) ** 0.5', {}, 'has no value'),
    ('10 ** 10 ** 10', {}, 'has no value'),
    ('9' * 400, {}, 'has no value'),
    ('1e999', {}, 'has no value'),
    ('a # and b', {'a': 1.0}, 'has a comment'),
    ('(' * 400 + 'a' + ')' * 400, {'a': 1.0}, 'no expression'),
    ('a' * 2000, {'a': 1.0}, 'at most 1,000'),
    ('a\x00', {'a': 1.0}, 'no expression|has no value'),
  ],
)
def test_what_cannot_be_is_one_line(text, values, message):
  with pytest.raises(UserError, match=message) as caught:
    parse_expression(text, values)
  assert '\n' not in str(caught.value)
