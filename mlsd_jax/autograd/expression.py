"""A graph of Values from an expression that somebody typed: `(a*b + c).tanh()`, `relu(w*x + b)**2`.

The text is Python's grammar and never Python's evaluation: numbers, names, + - * / **, and a Value's functions.
"""

import ast
import math
import operator
from collections.abc import Mapping

from mlsd_jax.autograd.engine import Value
from mlsd_jax.errors import UserError

LONGEST = 1000  # characters

_BINARY = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
  ast.Pow: operator.pow,
}
_FUNCTIONS = {'exp': 1, 'log': 1, 'tanh': 1, 'sigmoid': 1, 'relu': 1, 'abs': 1, 'max': 2}


def parse_expression(text: str, values: Mapping[str, float]) -> Value:
  """The graph of an expression; its leaves are labelled with their names. `backward` was not called yet.

  Args:
    text: functions are written as `tanh(x)` or, as micrograd's, `x.tanh()`.
    values: a number for each name.

  Raises:
    UserError: no expression, something that is none of the above, a name without a number or a number without its
      name in the text, or a result that does not exist (a division by zero, the logarithm of a negative number, an
      overflow).
  """
  if len(text) > LONGEST:
    raise UserError(f'the expression has {len(text):,} characters; at most {LONGEST:,} are read')
  if '#' in text:  # Python would read what is before it
    raise UserError(f'{text[:80]!r} has a comment; an expression has none')
  leaves = {name: Value(number, name) for name, number in values.items()}
  try:
    tree = ast.parse(text.strip(), mode='eval')
    unused = set(values) - {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if unused:
      raise UserError(f'{min(unused)!r} has a value and does not occur in the expression')
    found = _build(tree.body, leaves)
  except (SyntaxError, MemoryError, RecursionError) as error:
    why = error.msg if isinstance(error, SyntaxError) else 'nested too deeply'
    raise UserError(f'{text[:80]!r} is no expression: {why}') from None
  except (ArithmeticError, ValueError) as error:
    raise UserError(f'{text[:80]!r} has no value: {error}') from None
  return found if isinstance(found, Value) else Value(found)


def _build(node: ast.expr, leaves: Mapping[str, Value]) -> Value | float:
  """A float for a number alone, so that `x**2` has a constant exponent, as micrograd's has."""
  match node:
    case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
      if math.isinf(float(number)):
        raise OverflowError('a number in it is larger than floats are')
      return float(number)
    case ast.Name(id=name):
      if name not in leaves:
        raise UserError(f'{name!r} has no value; there is {", ".join(leaves) or "none"}')
      return leaves[name]
    case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
      found = _build(operand, leaves)
      return -found if isinstance(sign, ast.USub) else found
    case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
      first, second = _build(left, leaves), _build(right, leaves)
      if not isinstance(first, Value) and not isinstance(second, Value):
        first = Value(first)  # whose operations have errors of their own; a root of a negative float would be complex
      return _BINARY[type(op)](first, second)
    case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
      return _call(name, arguments, leaves)
    case ast.Call(func=ast.Attribute(value=owner, attr=name), args=arguments, keywords=[]):
      return _call(name, [owner, *arguments], leaves)
  raise UserError(
    f'{ast.unparse(node)[:80]!r} is not read here: numbers, names, + - * / ** and {", ".join(_FUNCTIONS)} are'
  )


def _call(name: str, arguments: list[ast.expr], leaves: Mapping[str, Value]) -> Value:
  if name not in _FUNCTIONS:
    raise UserError(f'there is no function {name[:80]!r}; there is {", ".join(_FUNCTIONS)}')
  if len(arguments) != _FUNCTIONS[name]:
    raise UserError(f'{name} takes {_FUNCTIONS[name]} values, not {len(arguments)}')
  built = (_build(each, leaves) for each in arguments)
  first, *rest = (each if isinstance(each, Value) else Value(each) for each in built)
  return getattr(first, name)(*rest)
