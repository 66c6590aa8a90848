"""The operations of the scalar engine and their derivatives, each written once.

A rule is a formula over `+ - * / **` and the few functions of a `lib`, so that the same table serves Python floats
(backward), `Value`s (derivatives that can be differentiated again) and JAX arrays (the compiler).
"""

import math
from collections.abc import Callable
from typing import Any

(LEAF, ADD, SUB, MUL, DIV, POWER, POW, NEG, ABS, EXP, LOG, TANH, SIGMOID, RELU, MAX, SIGN, GREATER) = range(17)

# POWER has a number as exponent (kept in `Value._right`), POW another Value.
SYMBOLS = ('', *'+-*/', '**', '**', 'neg', 'abs', 'exp', 'log', 'tanh', 'sigmoid', 'ReLU', 'max', 'sign', 'greater')
UNARY = frozenset((POWER, NEG, ABS, EXP, LOG, TANH, SIGMOID, RELU, SIGN))

# op -> (lib, left, right) -> value. For POWER `right` is the exponent.
FORWARD: dict[int, Callable[[Any, Any, Any], Any]] = {
  ADD: lambda lib, a, b: a + b,
  SUB: lambda lib, a, b: a - b,
  MUL: lambda lib, a, b: a * b,
  DIV: lambda lib, a, b: a / b,
  POWER: lambda lib, a, b: lib.power(a, b),
  POW: lambda lib, a, b: a**b,
  NEG: lambda lib, a, b: -a,
  ABS: lambda lib, a, b: abs(a),
  EXP: lambda lib, a, b: lib.exp(a),
  LOG: lambda lib, a, b: lib.log(a),
  TANH: lambda lib, a, b: lib.tanh(a),
  SIGMOID: lambda lib, a, b: lib.sigmoid(a),
  RELU: lambda lib, a, b: lib.relu(a),
  MAX: lambda lib, a, b: lib.maximum(a, b),
  SIGN: lambda lib, a, b: lib.sign(a),
  GREATER: lambda lib, a, b: lib.greater(a, b),
}

# op -> (lib, left, right, out, cotangent of out) -> (cotangent of left, cotangent of right).
# At kinks the choice is jax.grad's: at 0 relu has slope 0 and abs 1, a tie of max gives each side half.
BACKWARD: dict[int, Callable[[Any, Any, Any, Any, Any], tuple[Any, Any]]] = {
  ADD: lambda lib, a, b, out, g: (g, g),
  SUB: lambda lib, a, b, out, g: (g, -g),
  MUL: lambda lib, a, b, out, g: (g * b, g * a),
  DIV: lambda lib, a, b, out, g: (g / b, -(g / b) * out),
  POWER: lambda lib, a, b, out, g: (g * power_slope(lib, a, b), None),
  POW: lambda lib, a, b, out, g: (g * lib.base_slope(a, b), g * lib.exponent_slope(a, b, out)),
  NEG: lambda lib, a, b, out, g: (-g, None),
  ABS: lambda lib, a, b, out, g: (g * lib.sign(lib.sign(a) + 0.5), None),
  EXP: lambda lib, a, b, out, g: (g * out, None),
  LOG: lambda lib, a, b, out, g: (g / a, None),
  TANH: lambda lib, a, b, out, g: (g * ((1.0 - out) * (1.0 + out)), None),
  SIGMOID: lambda lib, a, b, out, g: (g * (out * lib.sigmoid(-a)), None),
  RELU: lambda lib, a, b, out, g: (g * lib.relu(lib.sign(a)), None),
  MAX: lambda lib, a, b, out, g: (g * lib.greater(a, b), g * lib.greater(b, a)),
  SIGN: lambda lib, a, b, out, g: (g * 0.0, None),
  GREATER: lambda lib, a, b, out, g: (g * 0.0, g * 0.0),
}


def power_slope(lib: Any, a: Any, exponent: float) -> Any:
  """d a**exponent / d a, also where a is 0 and the exponent 0 or 1."""
  return 0.0 if exponent == 0 else exponent * lib.power(a, exponent - 1)


def describe(op: int, a: Any, b: Any) -> str:
  """The operation as a person would write it: '1.0 / 0.0', 'log(-1.0)'."""
  if op in (ADD, SUB, MUL, DIV, POWER, POW):
    return f'{a!r} {SYMBOLS[op]} {b!r}'
  return f'{SYMBOLS[op]}({a!r})' if b is None else f'{SYMBOLS[op]}({a!r}, {b!r})'


class Floats:
  """The functions of the rules on Python floats. Each raises Python's own exception, naming the operation."""

  tanh = staticmethod(math.tanh)

  @staticmethod
  def exp(a: float) -> float:
    try:
      return math.exp(a)
    except OverflowError:
      raise OverflowError(f'exp({a!r}) overflows') from None

  @staticmethod
  def log(a: float) -> float:
    if a <= 0:
      raise ValueError(f'log({a!r}): the logarithm is defined above 0 only')
    return math.log(a)

  @staticmethod
  def sigmoid(a: float) -> float:
    if a >= 0:
      return 1.0 / (1.0 + math.exp(-a))
    small = math.exp(a)
    return small / (1.0 + small)

  @staticmethod
  def relu(a: float) -> float:
    return 0.0 if a <= 0 else a  # NaN stays NaN

  @staticmethod
  def maximum(a: float, b: float) -> float:
    return a if a > b or a != a else b

  @staticmethod
  def sign(a: float) -> float:
    return a if a != a else float((a > 0) - (a < 0))

  @staticmethod
  def greater(a: float, b: float) -> float:
    """1 where a > b, 0 where a < b, a half where they are equal."""
    return 1.0 if a > b else 0.5 if a == b else 0.0

  @staticmethod
  def power(a: float, b: float) -> float:
    try:
      power = a**b
    except ZeroDivisionError:
      raise ZeroDivisionError(f'{a!r} ** {b!r}: 0 has no negative power') from None
    except OverflowError:
      raise OverflowError(f'{a!r} ** {b!r} overflows') from None
    if isinstance(power, complex):
      raise ValueError(f'({a!r}) ** {b!r}: a negative number has no real power that is not whole')
    return power

  @staticmethod
  def base_slope(a: float, b: float) -> float:
    return b * Floats.power(a, b - 1) if b else 0.0

  @staticmethod
  def exponent_slope(a: float, b: float, out: float) -> float:
    """out * log a; as in JAX 0 at a = 0 and NaN below, where a whole exponent may stand but not move."""
    return out * math.log(a) if a > 0 else 0.0 if a == 0 else math.nan
