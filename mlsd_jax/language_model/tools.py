"""Tools that a model calls while it answers: a calculator.

An assistant's message 'calculate: 37 * 48' is a call. What it comes to is put behind it as a message of the role
'tool', and the model goes on from there: a number it need not guess.
"""

import ast
import operator
import re
from collections.abc import Callable

CALL = re.compile(r'\s*calculate:\s*(?P<expression>.+?)\s*', re.DOTALL)
_LONGEST, _LARGEST = 200, 10**15
_BINARY: dict[type, Callable[[float, float], float]] = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
  ast.FloorDiv: operator.floordiv,
  ast.Mod: operator.mod,
}
_UNARY: dict[type, Callable[[float], float]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def calculate(expression: str) -> str:
  """The value of + - * / // % and brackets over numbers; 'error: ...' for what is something else, which a model reads.

  Nothing else of the language is run, and no number grows beyond 10^15.
  """
  if len(expression) > _LONGEST:
    return f'error: more than {_LONGEST} characters'
  try:
    value = _value(ast.parse(expression.strip(), mode='eval').body)
  except ZeroDivisionError:
    return 'error: division by zero'
  except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
    return f'error: {error.args[0] if isinstance(error, ValueError) and error.args else "no arithmetic"}'
  return str(value) if isinstance(value, int) else f'{value:.10g}'


def _value(node: ast.expr) -> float:
  if isinstance(node, ast.Constant) and type(node.value) in (int, float):
    found: float = node.value  # type: ignore[assignment]
  elif isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
    found = _BINARY[type(node.op)](_value(node.left), _value(node.right))
  elif isinstance(node, ast.UnaryOp) and type(node.op) in _UNARY:
    found = _UNARY[type(node.op)](_value(node.operand))
  else:
    raise ValueError('no arithmetic')
  if not abs(found) <= _LARGEST:
    raise ValueError('the number is too large')
  return found


def calculator(message: str) -> str | None:
  """What an assistant's message calls for, or None if it is no call."""
  call = CALL.fullmatch(message)
  return calculate(call['expression']) if call else None


TOOLS: dict[str, Callable[[str], str | None]] = {'calculator': calculator}
