"""From a graph of scalars to one jitted JAX function of arrays, in float64.

    program = compile_graph([loss, *scores], model.parameters())
    program(numbers)                    # outputs at other values of the parameters
    program.value_and_grad(numbers)     # outputs, and the gradient of the first

One XLA operation a scalar would compile for minutes. Instead nodes that do the same at the same depth form a group, and
a group is one array operation on operands that are gathered from earlier groups. Long sums, which Python adds up one by
one, are first flattened: their depth would otherwise be that of the graph. The backward pass is planned in the same
way: each group gathers the contributions to its cotangents from those who use it, so that nothing is scattered (which
is what XLA is slow at on a CPU). A graph that stays deep (a chain) runs as a loop over its nodes: see tape.py.

The numbers follow IEEE 754: where the interpreter raises, a compiled graph gives inf or NaN. What Python code decided
while the graph was recorded (an `if` on data) stays decided.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.autograd import grouping, tape
from mlsd_jax.autograd.arrays import Arrays
from mlsd_jax.autograd.engine import Value
from mlsd_jax.autograd.grouping import SUM, Gather
from mlsd_jax.autograd.rules import BACKWARD, FORWARD, POWER

MOST_GROUPS = 400  # beyond, XLA would compile for longer than a loop over the nodes needs


class Program:
  """A compiled graph.

  Attributes:
    num_inputs, num_outputs, num_nodes: of the graph; nodes count everything that was recorded.
    num_operations: array operations of the forward pass; 0 where the graph runs as a loop over its nodes.
    arrays: indices and constants that the pure functions take as their first argument.
  """

  def __init__(self, outputs: Sequence[Value], inputs: Sequence[Value]):
    graph = grouping.Graph(outputs, inputs)
    self.num_inputs, self.num_outputs, self.num_nodes = len(inputs), len(outputs), graph.num_nodes
    self._plan = grouping.plan(graph, MOST_GROUPS)
    self.num_operations = len(self._plan.groups) if self._plan else 0
    self.arrays: Any = self._plan.arrays if self._plan else tape.record(graph)
    self._forward = jax.jit(self.forward)
    self._value_and_grad = jax.jit(self.pure_value_and_grad)

  def __call__(self, inputs: Any) -> np.ndarray:
    """Outputs (num_outputs,) at `inputs` (num_inputs,), float64."""
    with jax.enable_x64(True):
      return np.asarray(self._forward(self.arrays, self._checked(inputs)))

  def value_and_grad(self, inputs: Any, cotangents: Any = None) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and the gradient of cotangents . outputs, by default of the first output, both float64."""
    if cotangents is None:
      cotangents = np.arange(self.num_outputs) == 0
    with jax.enable_x64(True):
      cotangents = jnp.asarray(cotangents, jnp.float64)
      out, gradient = self._value_and_grad(self.arrays, self._checked(inputs), cotangents)
      return np.asarray(out), np.asarray(gradient)

  def _checked(self, inputs: Any) -> jax.Array:
    numbers = jnp.asarray(inputs, jnp.float64)
    if numbers.shape != (self.num_inputs,):
      raise ValueError(f'the graph has {self.num_inputs} inputs, got an array of shape {numbers.shape}')
    return numbers

  def forward(self, arrays: Any, inputs: jax.Array) -> jax.Array:
    """Pure: outputs (num_outputs,). To be traced under jax.enable_x64(True), alone or inside a larger function."""
    if not self._plan:
      return tape.forward(arrays, inputs)[arrays['outputs']]
    return self._outputs(arrays, self._run(arrays, inputs))

  def pure_value_and_grad(self, arrays: Any, inputs: jax.Array, cotangents: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Pure: outputs and the gradient of cotangents . outputs. To be traced under jax.enable_x64(True)."""
    if not self._plan:
      tape_values = tape.forward(arrays, inputs)
      return tape_values[arrays['outputs']], tape.backward(arrays, tape_values, cotangents)
    values = self._run(arrays, inputs)
    return self._outputs(arrays, values), self._pull_back(arrays, values, cotangents)

  def _outputs(self, arrays: Any, values: list[jax.Array]) -> jax.Array:
    assert self._plan
    return _gather(self._plan.outputs, arrays, values)

  def _run(self, arrays: Any, inputs: jax.Array) -> list[jax.Array]:
    """The values of every group; the inputs are the first, the constants the second."""
    assert self._plan
    values = [inputs, arrays[self._plan.constants]]
    for group in self._plan.groups:
      operands = [_gather(gather, arrays, values) for gather in group.operands]
      if group.code == SUM:
        terms = operands[0] if group.signs is None else operands[0] * arrays[group.signs]
        values.append(terms.sum(axis=1))
      else:
        right = group.exponent if group.code == POWER else operands[-1]
        values.append(FORWARD[group.code](Arrays, operands[0], right))
    return values

  def _pull_back(self, arrays: Any, values: list[jax.Array], cotangents: jax.Array) -> jax.Array:
    """The gradient by the inputs (num_inputs,)."""
    assert self._plan
    contributions: dict[int, jax.Array] = {grouping.SEEDS: cotangents}
    for number in range(len(self._plan.groups) - 1, -1, -1):
      group = self._plan.groups[number]
      cotangent = _collect(group.collect, arrays, contributions)
      if group.code == SUM:
        to_left, to_right = cotangent, -cotangent
      else:
        operands = [_gather(gather, arrays, values) for gather in group.operands]
        right = group.exponent if group.code == POWER else operands[-1]
        to_left, to_right = BACKWARD[group.code](Arrays, operands[0], right, values[number + 2], cotangent)
      contributions[2 * number], contributions[2 * number + 1] = to_left, to_right
    return _collect(self._plan.collect, arrays, contributions)


def compile_graph(outputs: Sequence[Value], inputs: Sequence[Value]) -> Program:
  """Compiles the graph under `outputs` to a function of `inputs`; every other leaf is a constant.

  Args:
    outputs: what is computed; the gradient is that of the first unless asked otherwise.
    inputs: distinct nodes, usually leaves (an inner node is cut off from what it was computed from).

  Raises:
    ValueError: no outputs, or an input twice.
  """
  if not outputs:
    raise ValueError('a graph without outputs')
  if len(set(inputs)) != len(inputs):
    raise ValueError('an input is there twice')
  return Program(outputs, inputs)


def _gather(gather: Gather, arrays: Any, values: Any) -> jax.Array:
  parts = [values[source] for source in gather.sources]
  whole = parts[0] if len(parts) == 1 else jnp.concatenate(parts)
  if gather.index is None:
    return whole[gather.start : gather.start + np.prod(gather.shape, dtype=int)].reshape(gather.shape)
  return whole.at[arrays[gather.index]].get(mode='promise_in_bounds')


def _collect(collect: 'grouping.Collect', arrays: Any, contributions: dict[int, jax.Array]) -> jax.Array:
  """Sums the contributions to every node of a group."""
  if not collect.parts:
    return jnp.zeros(collect.size)
  contributions = contributions | {grouping.ZERO: jnp.zeros(1)}
  sums = []
  for gather in collect.parts:
    terms = _gather(gather, arrays, contributions)
    sums.append(terms if terms.ndim == 1 else terms.sum(axis=1))
  if collect.order is None:
    return sums[0]
  return jnp.concatenate(sums)[arrays[collect.order]]
