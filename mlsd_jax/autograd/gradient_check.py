"""Gradients of a function of Values against finite differences."""

from collections.abc import Callable, Sequence

from mlsd_jax.autograd.engine import Value, no_grad


def numerical(function: Callable[..., Value], at: Sequence[float], step: float = 1e-6) -> list[float]:
  """Central differences (f(x + h) - f(x - h)) / 2h, with h = step * max(1, |x|) for each argument in turn."""
  slopes = []
  with no_grad():
    for i, number in enumerate(at):
      h = step * max(1.0, abs(number))
      above, below = ([*at[:i], moved, *at[i + 1 :]] for moved in (number + h, number - h))
      ends = [function(*map(Value, each)).data for each in (above, below)]
      slopes.append((ends[0] - ends[1]) / (2 * h))
  return slopes


def check(
  function: Callable[..., Value],
  at: Sequence[float],
  *,
  step: float = 1e-6,
  relative: float = 1e-5,
  absolute: float = 1e-6,
) -> list[float]:
  """The gradient of `function` at `at`, once finite differences have confirmed it.

  Args:
    function: takes as many Values as there are numbers in `at`, gives one.
    step: of the differences.
    relative: |gradient - difference| may be absolute + relative * |difference|.
    absolute: see relative.

  Raises:
    AssertionError: an entry differs; the message has both numbers. At a kink, such as relu at 0, it does.
  """
  arguments = [Value(number) for number in at]
  function(*arguments).backward()
  gradient = [argument.grad for argument in arguments]
  for i, (ours, theirs) in enumerate(zip(gradient, numerical(function, at, step), strict=True)):
    if not abs(ours - theirs) <= absolute + relative * abs(theirs):
      raise AssertionError(f'argument {i} at {at[i]!r}: backward gives {ours!r}, finite differences {theirs!r}')
  return gradient
