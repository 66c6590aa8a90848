"""Muon: the momentum of each matrix, made orthogonal (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

A matrix's gradient is nearly of low rank: a few directions have nearly all of its size, and Adam's step is led by them.
Of momentum = U S V', Muon steps along U V', all directions alike. U V' comes from five matrix polynomials
(Newton-Schulz) in place of a singular value decomposition.

Matrices of one shape are made orthogonal together, as one stack: a small product alone leaves a machine idle.

Names: N matrices of a stack, I inputs, O outputs.
"""

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mlsd_jax.training.sharding import path_string

# Of x -> a x + b x^3 + c x^5, repeated five times: singular values from 1e-3 to 1 end between 0.7 and 1.2, which is
# near enough to 1, and a is as large as it can be, so that small ones grow fast.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class MuonState(NamedTuple):
  momentum: Any


def orthogonalize(x_NIO: jax.Array) -> jax.Array:
  """U V' of each matrix U S V' of the stack, nearly: its singular values become about 1."""
  a, b, c = COEFFICIENTS
  is_tall = x_NIO.shape[1] > x_NIO.shape[2]
  x = jnp.swapaxes(x_NIO, 1, 2) if is_tall else x_NIO  # the products below are then of the shorter side
  x = x / (jnp.linalg.norm(x, axis=(1, 2), keepdims=True) + 1e-7)  # no singular value above 1
  for _ in range(ITERATIONS):
    gram = jnp.einsum('nik,njk->nij', x, x)
    x = a * x + jnp.einsum('nij,njk->nik', b * gram + c * jnp.einsum('nij,njk->nik', gram, gram), x)
  return jnp.swapaxes(x, 1, 2) if is_tall else x


def is_matrix(path: str) -> bool:
  """Whether Muon moves a parameter: kernels of linear layers, but no embedding and no head, whose rows are tokens'."""
  return path.rsplit('/', 1)[-1] == 'kernel'


def split_matrices(path: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
  """(N, I, O) of a kernel [*stack, *in, *out], as models/layers.Linear keeps it.

  Heads that come in ('attention/out') are inputs, heads that go out are outputs, and queries, keys and values that lie
  in one kernel ('qkv') are three matrices: what they multiply by is not of one size.
  """
  stack = shape[:1] if re.search(r'blocks/(?!\d+/)', path) else ()  # stacked layers
  own = shape[len(stack) :]
  inputs = 2 if path.endswith('out/kernel') and len(own) == 3 else 1
  parts = own[1] if path.endswith('qkv/kernel') else 1
  fan_in = math.prod(own[:inputs])
  return math.prod(stack) * parts, fan_in, math.prod(own) // fan_in // parts


def _to_stack(path: str, x: jax.Array) -> jax.Array:
  number, fan_in, fan_out = split_matrices(path, x.shape)
  if path.endswith('qkv/kernel'):  # [*stack, D, 3, H, K]: the three stand behind the inputs
    x = jnp.moveaxis(x, -3, -4)
  return x.reshape(number, fan_in, fan_out)


def _from_stack(path: str, stack: jax.Array, shape: tuple[int, ...]) -> jax.Array:
  if not path.endswith('qkv/kernel'):
    return stack.reshape(shape)
  *lead, width, parts, heads, head_dim = shape
  return jnp.moveaxis(stack.reshape(*lead, parts, width, heads, head_dim), -4, -3)


def scale_by_muon(momentum: float = 0.95) -> optax.GradientTransformation:
  """Gradients of kernels -> orthogonal steps of root mean square about 1 / sqrt(I), with Nesterov's momentum.

  A step is U V' max(1, O / I)^0.5: alike in its effect on what a layer gives, whatever the layer's shape.
  """

  def init(params):
    return MuonState(jax.tree.map(jnp.zeros_like, params))

  def update(updates, state, params=None):
    del params
    held = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, state.momentum, updates)
    ahead = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, held, updates)
    return _by_shape(orthogonalize, ahead), MuonState(held)

  return optax.GradientTransformation(init, update)


def _by_shape(function: Callable[[jax.Array], jax.Array], tree: Any) -> Any:
  """`function` of stacks of all matrices of one shape, transposed ones among them."""
  paths, leaves = zip(*jax.tree_util.tree_leaves_with_path(tree), strict=True) if jax.tree.leaves(tree) else ((), ())
  names = [path_string(path) for path in paths]
  stacks = [_to_stack(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
  # A wide matrix lies on its side: [512, 128] and [128, 512] are of one stack.
  wide = [stack.shape[1] <= stack.shape[2] for stack in stacks]
  laid = [stack if is_wide else jnp.swapaxes(stack, 1, 2) for stack, is_wide in zip(stacks, wide, strict=True)]
  shapes = dict.fromkeys(stack.shape[1:] for stack in laid)
  found: dict[int, jax.Array] = {}
  for shape in shapes:
    members = [i for i, stack in enumerate(laid) if stack.shape[1:] == shape]
    together = function(jnp.concatenate([laid[i] for i in members]))
    start = 0
    for i in members:
      number = len(laid[i])
      own = together[start : start + number]
      own = own if wide[i] else jnp.swapaxes(own, 1, 2)
      _, fan_in, fan_out = stacks[i].shape
      found[i] = _from_stack(names[i], own * max(1.0, fan_out / fan_in) ** 0.5, leaves[i].shape)
      start += number
  return jax.tree.unflatten(jax.tree.structure(tree), [found[i] for i in range(len(leaves))])
