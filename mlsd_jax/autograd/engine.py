"""Reverse-mode differentiation of scalars in plain Python, with the interface of the `micrograd` package.

A `Value` keeps its operation as a small number and its operands in two slots: no closures and no reference cycles, so a
graph is freed by reference counting the moment its last node is dropped. Nothing here recurses; a chain of a million
nodes is differentiated, freed, copied and pickled like any other.

    a, b = Value(2.0), Value(-3.0)
    (a * b + a**2).tanh().backward()
    a.grad, b.grad

Numbers that would be wrong are exceptions, Python's own, which name the operation: ZeroDivisionError, ValueError (log
of a negative number, (-8) ** 0.5) and OverflowError, the last also where floats alone would go on with inf. Infinities
and NaN that are put in by the caller are computed with as IEEE 754 says.
"""

import contextlib
import contextvars
import numbers
import threading
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from mlsd_jax.autograd.rules import (
  ABS,
  ADD,
  BACKWARD,
  DIV,
  EXP,
  GREATER,
  LEAF,
  LOG,
  MAX,
  MUL,
  NEG,
  POW,
  POWER,
  RELU,
  SIGMOID,
  SIGN,
  SUB,
  SYMBOLS,
  TANH,
  UNARY,
  Floats,
  describe,
)

_new = object.__new__
_recording_off = contextvars.ContextVar('recording_off', default=False)
_off_anywhere = 0  # how many no_grad blocks are open in any thread: operations look no further while it is 0
_lock = threading.Lock()


class Value:
  """A scalar that remembers how it was computed.

  Attributes:
    data: the number, a float.
    grad: what `backward` calls have added up here, a float.
    label: a name for drawings.
  """

  __slots__ = ('_code', '_left', '_right', 'data', 'grad', 'label')

  def __init__(self, data: Any, label: str = ''):
    """
    Args:
      data: anything that Python's float() takes and that is not text: int, float, a NumPy or JAX scalar.

    Raises:
      TypeError: `data` is no number.
    """
    if data.__class__ is not float:
      if isinstance(data, (str, bytes, Value)):
        raise TypeError(f'Value needs a number, got {data!r}')
      data = float(data)
    self.data: float = data
    self.grad = 0.0
    self.label = label
    self._code: int = LEAF
    self._left: Any = None
    self._right: Any = None

  # The two commonest operations are written out; a call less is a fifth of their time.

  def __add__(self, other: Any) -> Any:
    if other.__class__ is not Value:
      other = _operand(other)
      if other is NotImplemented:
        return other
    data = self.data + other.data
    if data - data:  # inf or NaN
      _check_overflow(data, ADD, self.data, other.data)
    node = _new(Value)
    node.data, node.grad, node.label = data, 0.0, ''
    if _off_anywhere and _recording_off.get():
      node._code, node._left, node._right = LEAF, None, None
    else:
      node._code, node._left, node._right = ADD, self, other
    return node

  def __mul__(self, other: Any) -> Any:
    if other.__class__ is not Value:
      other = _operand(other)
      if other is NotImplemented:
        return other
    data = self.data * other.data
    if data - data:
      _check_overflow(data, MUL, self.data, other.data)
    node = _new(Value)
    node.data, node.grad, node.label = data, 0.0, ''
    if _off_anywhere and _recording_off.get():
      node._code, node._left, node._right = LEAF, None, None
    else:
      node._code, node._left, node._right = MUL, self, other
    return node

  def __sub__(self, other: Any) -> Any:
    other = _operand(other)
    return other if other is NotImplemented else _node(self.data - other.data, SUB, self, other)

  def __truediv__(self, other: Any) -> Any:
    other = _operand(other)
    if other is NotImplemented:
      return other
    if not other.data:
      raise ZeroDivisionError(f'{self.data!r} / {other.data!r} divides by zero')
    return _node(self.data / other.data, DIV, self, other)

  def __pow__(self, other: Any) -> Any:
    """A number as exponent is a constant; a `Value` gets a gradient too (NaN where the base is negative)."""
    if isinstance(other, Value):
      return _node(Floats.power(self.data, other.data), POW, self, other)
    if not isinstance(other, numbers.Real):
      return NotImplemented
    exponent = other if other.__class__ in (int, float) else float(other)
    return _node(Floats.power(self.data, exponent), POWER, self, exponent)

  def __radd__(self, other: Any) -> Any:
    other = _operand(other)
    return other if other is NotImplemented else other + self

  def __rsub__(self, other: Any) -> Any:
    other = _operand(other)
    return other if other is NotImplemented else other - self

  def __rmul__(self, other: Any) -> Any:
    other = _operand(other)
    return other if other is NotImplemented else other * self

  def __rtruediv__(self, other: Any) -> Any:
    other = _operand(other)
    return other if other is NotImplemented else other / self

  def __rpow__(self, other: Any) -> Any:
    other = _operand(other)
    return other if other is NotImplemented else other**self

  def __neg__(self) -> 'Value':
    return _node(-self.data, NEG, self)

  def __pos__(self) -> 'Value':
    return self

  def __abs__(self) -> 'Value':
    return _node(abs(self.data), ABS, self)

  abs = __abs__

  def exp(self) -> 'Value':
    return _node(Floats.exp(self.data), EXP, self)

  def log(self) -> 'Value':
    return _node(Floats.log(self.data), LOG, self)

  def tanh(self) -> 'Value':
    return _node(Floats.tanh(self.data), TANH, self)

  def sigmoid(self) -> 'Value':
    return _node(Floats.sigmoid(self.data), SIGMOID, self)

  def relu(self) -> 'Value':
    data = self.data
    return _node(0.0 if data <= 0 else data, RELU, self)

  def max(self, other: Any) -> 'Value':
    """The larger of two; a tie gives each half of the gradient, as jnp.maximum does."""
    other = _required(other)
    return _node(Floats.maximum(self.data, other.data), MAX, self, other)

  def sign(self) -> 'Value':
    """-1, 0 or 1; its derivative is 0 everywhere."""
    return _node(Floats.sign(self.data), SIGN, self)

  def greater(self, other: Any) -> 'Value':
    """1 where self > other, a half where they are equal, else 0; its derivative is 0 everywhere."""
    other = _required(other)
    return _node(Floats.greater(self.data, other.data), GREATER, self, other)

  # Order compares the numbers, so that sorted() and Python's max() work; == and hash are identity, as in micrograd.

  def __lt__(self, other: Any) -> bool:
    return self.data < float(other)

  def __le__(self, other: Any) -> bool:
    return self.data <= float(other)

  def __gt__(self, other: Any) -> bool:
    return self.data > float(other)

  def __ge__(self, other: Any) -> bool:
    return self.data >= float(other)

  def __float__(self) -> float:
    return self.data

  def __repr__(self) -> str:
    return f'Value(data={self.data}, grad={self.grad})'

  @property
  def _prev(self) -> set['Value']:
    return set(operands(self))

  @property
  def _op(self) -> str:
    """The operation as micrograd writes it: '+', '*', '**2', 'ReLU', ...; '' for a leaf."""
    return f'**{self._right}' if self._code == POWER else SYMBOLS[self._code]

  def backward(self) -> None:
    """Adds d self / d node to `grad` of every node under this one, and 1 to this one's.

    Calling it again adds the same once more, to inner nodes as to leaves; `zero_grad` starts afresh.

    Raises:
      ZeroDivisionError, OverflowError: a derivative does not exist or is no longer a float; the operation is named.
        Gradients are then partly added.
    """
    pending = _count_uses((self,))
    cotangents = dict.fromkeys(pending, 0.0)
    cotangents[self] = 1.0
    ready = [self]
    for node in ready:
      cotangent = cotangents[node]
      if cotangent - cotangent:
        _check_cotangent(node, cotangents)
      node.grad += cotangent
      op = node._code
      if op == LEAF:
        continue
      left, right = node._left, node._right
      if op == MUL:
        cotangents[left] += cotangent * right.data
        cotangents[right] += cotangent * left.data
      elif op == ADD:
        cotangents[left] += cotangent
        cotangents[right] += cotangent
      elif op in UNARY:
        cotangents[left] += _slope(node, left.data, right, cotangent)[0]
        right = None
      else:
        to_left, to_right = _slope(node, left.data, right.data, cotangent)
        cotangents[left] += to_left
        cotangents[right] += to_right
      uses = pending[left] = pending[left] - 1
      if not uses:
        ready.append(left)
      if right is not None:
        uses = pending[right] = pending[right] - 1
        if not uses:
          ready.append(right)

  def zero_grad(self) -> None:
    """Sets `grad` to 0 in the whole graph under this node."""
    for node in _count_uses((self,)):
      node.grad = 0.0

  def __reduce__(self) -> Any:
    # Pickle goes through the list one by one, operands first, so that it never recurses; see _Pickled.
    return _last, ([_Pickled.of(node) for node in topological(self)],)

  def __copy__(self) -> 'Value':
    """Another node with the same operands."""
    return _restore(self.data, self.grad, self.label, self._code, self._left, self._right)


class _Pickled:
  """Stands for one node in a pickle.

  A node has one stand-in as long as a pickler holds on to it, so what several pickled objects share stays shared.
  """

  __slots__ = ('__weakref__', 'node')
  node: Value

  @classmethod
  def of(cls, node: Value) -> '_Pickled':
    stand_in = _stand_ins.get(id(node))
    if stand_in is None:
      stand_in = _stand_ins[id(node)] = cls()
      stand_in.node = node
    return stand_in

  def __reduce__(self) -> Any:
    node = self.node
    left, right = (_Pickled.of(each) if isinstance(each, Value) else each for each in (node._left, node._right))
    return _restore, (node.data, node.grad, node.label, node._code, left, right)


_stand_ins: 'weakref.WeakValueDictionary[int, _Pickled]' = weakref.WeakValueDictionary()


def _last(nodes: list[Value]) -> Value:
  return nodes[-1]


def _restore(data: float, grad: float, label: str, op: int, left: Any, right: Any) -> Value:
  node = Value(data, label)
  node.grad, node._code, node._left, node._right = grad, op, left, right
  return node


def _operand(other: Any) -> Any:
  """A `Value` of a number; NotImplemented for what is none, arrays among it (their own operators then take over)."""
  if isinstance(other, Value):
    return other
  if isinstance(other, numbers.Real) or getattr(other, 'shape', None) == ():
    return Value(other)
  return NotImplemented


def _required(other: Any) -> Value:
  operand = _operand(other)
  if operand is NotImplemented:
    raise TypeError(f'a Value or a number is wanted, got {other!r}')
  return operand


def _node(data: float, op: int, left: Value, right: Any = None) -> Value:
  if data - data:
    _check_overflow(data, op, left.data, right.data if isinstance(right, Value) else right)
  node = _new(Value)
  node.data, node.grad, node.label = data, 0.0, ''
  if _off_anywhere and _recording_off.get():
    node._code, node._left, node._right = LEAF, None, None
  else:
    node._code, node._left, node._right = op, left, right
  return node


def _check_overflow(data: float, op: int, left: float, right: float | None) -> None:
  if data == data and not (left - left or (right is not None and right - right)):
    raise OverflowError(f'{describe(op, left, right)} overflows')


def _slope(node: Value, left: float, right: float | None, cotangent: float) -> tuple[float, Any]:
  try:
    return BACKWARD[node._code](Floats, left, right, node.data, cotangent)
  except (ZeroDivisionError, OverflowError) as error:
    raise type(error)(f'the derivative of {describe(node._code, left, right)} does not exist: {error}') from None


def _check_cotangent(node: Value, cotangents: dict[Value, float]) -> None:
  """Raises OverflowError where the gradient of `node` is infinite but everything it came from is finite."""
  finite = lambda number: not number - number
  if cotangents[node] != cotangents[node]:
    return
  for user, cotangent in cotangents.items():
    if any(operand is node for operand in operands(user)):
      numbers_of = [each.data for each in operands(user)]
      if all(map(finite, (*numbers_of, user.data, cotangent))):
        shown = user._right if user._code == POWER else (*numbers_of, None)[1]
        raise OverflowError(f'backward: the gradient of {describe(user._code, numbers_of[0], shown)} overflows')


def operands(node: Value) -> tuple[Value, ...]:
  """The nodes that `node` was computed from, in order; the same one twice for x * x."""
  if node._code == LEAF:
    return ()
  return (node._left,) if node._code in UNARY else (node._left, node._right)


def _count_uses(roots: Iterable[Value]) -> dict[Value, int]:
  """How often each node of the graphs under `roots` is an operand there; 0 for a root that is none."""
  uses = dict.fromkeys(roots, 0)
  found = list(uses)
  for node in found:
    left, right = node._left, node._right
    if left is not None:
      if left in uses:
        uses[left] += 1
      else:
        uses[left] = 1
        found.append(left)
      if right is not None and node._code != POWER:
        if right in uses:
          uses[right] += 1
        else:
          uses[right] = 1
          found.append(right)
  return uses


def topological(*roots: Value) -> list[Value]:
  """Every node of the graphs under `roots`, operands before what is computed from them; in the order of evaluation."""
  order: list[Value] = []
  seen: set[Value] = set()
  stack: list[Any] = list(reversed(roots))
  while stack:
    node = stack.pop()
    if node is None:  # the node below the mark has all its operands in the list
      order.append(stack.pop())
    elif node not in seen:
      seen.add(node)
      stack += (node, None, *reversed(operands(node)))
  return order


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
  """Operations inside give plain leaves: numbers without a graph. Also a decorator; threads do not see each other's."""
  global _off_anywhere
  with _lock:
    _off_anywhere += 1
  token = _recording_off.set(True)
  try:
    yield
  finally:
    _recording_off.reset(token)
    with _lock:
      _off_anywhere -= 1
