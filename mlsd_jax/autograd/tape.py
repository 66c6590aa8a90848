"""Graphs that are deep rather than wide, as a loop over their nodes inside one XLA program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from mlsd_jax.autograd.arrays import Arrays
from mlsd_jax.autograd.grouping import Graph
from mlsd_jax.autograd.rules import BACKWARD, FORWARD, POW, POWER

_CODES = [code for code in FORWARD if code != POWER]


def record(graph: Graph) -> dict[str, np.ndarray]:
  """The graph as arrays. Only nodes that depend on the inputs are steps; powers by a number become powers by a node."""
  data = list(graph.data)
  steps = [i for i, varies in enumerate(graph.varies) if varies and graph.codes[i]]
  right = list(graph.right)
  for step in steps:
    if graph.codes[step] == POWER:
      right[step] = len(data)
      data.append(graph.exponents[step])
  nowhere = len(data)  # the right operand of unary operations
  data.append(0.0)
  branch = {code: i for i, code in enumerate(_CODES)}
  return {
    'data': np.array(data),
    'steps': np.array(steps, np.int32),
    'branches': np.array([branch[POW if graph.codes[i] == POWER else graph.codes[i]] for i in steps], np.int32),
    'left': np.array([graph.left[i] for i in steps], np.int32),
    'right': np.array([right[i] if right[i] >= 0 else nowhere for i in steps], np.int32),
    'inputs': np.array(graph.inputs, np.int32),
    'outputs': np.array(graph.outputs, np.int32),
  }


def forward(arrays: Any, inputs: jax.Array) -> jax.Array:
  """The value of every node."""
  branches = [lambda a, b, code=code: FORWARD[code](Arrays, a, b) for code in _CODES]

  def step(i: Any, values: jax.Array) -> jax.Array:
    a, b = values[arrays['left'][i]], values[arrays['right'][i]]
    return values.at[arrays['steps'][i]].set(lax.switch(arrays['branches'][i], branches, a, b))

  values = jnp.asarray(arrays['data']).at[arrays['inputs']].set(inputs)
  return lax.fori_loop(0, arrays['steps'].shape[0], step, values)


def backward(arrays: Any, values: jax.Array, cotangents: jax.Array) -> jax.Array:
  """The gradient by the inputs."""

  def branch(code: int) -> Any:
    def pull(a: Any, b: Any, out: Any, g: Any) -> Any:
      left, right = BACKWARD[code](Arrays, a, b, out, g)
      return left, jnp.zeros_like(g) if right is None else right

    return pull

  branches = [branch(code) for code in _CODES]
  count = arrays['steps'].shape[0]

  def step(i: Any, sums: jax.Array) -> jax.Array:
    i = count - 1 - i
    left, right, node = arrays['left'][i], arrays['right'][i], arrays['steps'][i]
    pulled = lax.switch(arrays['branches'][i], branches, values[left], values[right], values[node], sums[node])
    return sums.at[left].add(pulled[0]).at[right].add(pulled[1])

  sums = jnp.zeros_like(values).at[arrays['outputs']].add(cotangents)
  return lax.fori_loop(0, count, step, sums)[arrays['inputs']]
