"""Functions of several `Value`s, and gradients that are `Value`s again."""

from collections.abc import Sequence

from mlsd_jax.autograd.engine import Value, operands, topological
from mlsd_jax.autograd.rules import BACKWARD, Floats


def gradients(output: Value, inputs: Sequence[Value]) -> list[Value]:
  """d output / d input as `Value`s with graphs of their own, which can be differentiated again.

  `grad` attributes are not touched. An input that `output` does not depend on has the gradient Value(0.0).
  """
  order = topological(output)
  depends = set(inputs)
  for node in order:
    if not depends.isdisjoint(operands(node)):
      depends.add(node)
  cotangents = {output: Value(1.0)}
  for node in reversed(order):
    if node not in depends or node not in cotangents or not operands(node):
      continue
    contributions = BACKWARD[node._code](_Values, node._left, node._right, node, cotangents[node])
    for operand, contribution in zip(operands(node), contributions, strict=False):
      if operand in depends:
        earlier = cotangents.get(operand)
        cotangents[operand] = contribution if earlier is None else earlier + contribution
  return [cotangents.get(each) or Value(0.0) for each in inputs]


class _Values:
  """The functions of the rules on `Value`s."""

  exp, log, tanh, sigmoid, relu = Value.exp, Value.log, Value.tanh, Value.sigmoid, Value.relu
  sign, greater, maximum = Value.sign, Value.greater, Value.max

  @staticmethod
  def power(a: Value, b: float) -> Value:
    return a**b

  @staticmethod
  def base_slope(a: Value, b: Value) -> Value:
    return b * a ** (b - 1) if b.data or a.data else Value(0.0)

  @staticmethod
  def exponent_slope(a: Value, b: Value, out: Value) -> Value:
    return out * a.log() if a.data > 0 else Value(Floats.exponent_slope(a.data, b.data, out.data))


def maximum(values: Sequence[Value]) -> Value:
  """The largest of `values`, pair by pair.

  Raises:
    ValueError: there are none.
  """
  if not values:
    raise ValueError('the maximum of no values')
  values = list(values)
  while len(values) > 1:  # a balanced tree: its depth is what the compiler pays for
    pairs = [a.max(b) for a, b in zip(values[::2], values[1::2], strict=False)]
    values = pairs + values[2 * len(pairs) :]
  return values[0]


def softmax(values: Sequence[Value]) -> list[Value]:
  """exp(v) / sum of exp(v), by way of v minus the largest, so that nothing overflows."""
  largest = maximum(values)
  powers = [(value - largest).exp() for value in values]
  total = sum(powers[1:], powers[0])
  return [power / total for power in powers]
