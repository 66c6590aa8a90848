"""What an operation of a compiled training step is for: a class by the functions of our source that it comes from."""

import collections
import dataclasses
import math
import re
from typing import NamedTuple

from mlsd_jax.compilation.hlo import Module, Run, Shape

PRODUCTS = 'matrix products'
COPIES = 'copies, changes of layout and dtype'
OTHERS = 'others'
CAST = 'cast of the parameters'
# The first whose pattern fits one of the functions, looked for from the innermost outwards.
CLASSES = (
  ('softmax and cross-entropy', r'cross_entropy|_compute_nll|_mask_padding|cap_logits'),
  ('attention without its products', r'^_?attend|^weights$|Attention\.__call__'),
  ('norms', r'Norm\.__call__'),
  ('biases', r'Linear\.__call__'),
  ('GELU', r'MLP\.__call__'),
  ('dropout', r'^dropout$'),
  ('embedding', r'\.embed$'),
  ('residual sums', r'^Block\.__call__'),
  (CAST, r'^cast_floating'),
  ('optimiser', r'update_fn|apply_updates|tree_norm|^norm$|scale_by'),
  ('sums of gradients over microbatches', r'^_accumulate'),
  ('optimiser', r'one_step'),
)
HOLDERS = ('while', 'call', 'conditional')  # whose parts are operations of their own
_MOVES = {
  'copy',
  'convert',
  'transpose',
  'bitcast',
  'reshape',
  'parameter',
  'slice',
  'concatenate',
  'broadcast',
  'tuple',
}
_MOVES |= {'get-tuple-element', 'constant', 'dynamic-slice', 'dynamic-update-slice', 'pad', 'bitcast-convert'}


class Product(NamedTuple):
  """A product as a program calls it: sizes, which sides lie transposed in memory, dtypes of what goes in and out."""

  batch: int
  rows: int
  inner: int
  columns: int
  left_transposed: bool
  right_transposed: bool
  dtype: str
  out_dtype: str

  @property
  def flops(self) -> float:
    return 2.0 * self.batch * self.rows * self.inner * self.columns

  def __str__(self) -> str:
    left = f'{self.rows}x{self.inner}{"T" * self.left_transposed}'
    right = f'{self.inner}x{self.columns}{"T" * self.right_transposed}'
    batch = f'{self.batch} of ' if self.batch > 1 else ''
    dtype = self.dtype if self.dtype == self.out_dtype else f'{self.dtype} to {self.out_dtype}'
    return f'{batch}{left} @ {right}, {dtype}'


def find_product(module: Module, run: Run) -> Product | None:
  """The product that an instruction is, or that a fusion is made around; None for any other instruction."""
  instruction = run.instruction
  if instruction.opcode == 'dot':
    return _from_dot(run, module.operand_shapes(run))
  if '__onednn$matmul' in instruction.attributes:
    return _from_onednn(run, module.operand_shapes(run))
  for name in instruction.called if instruction.opcode == 'fusion' else ():
    for part in module.computations.get(name, ()):
      if part.opcode == 'dot':
        inside = dataclasses.replace(run, instruction=part, computation=name)
        return _from_dot(inside, module.operand_shapes(inside))
  return None


def _from_dot(run: Run, operands: list[tuple[Shape, ...]]) -> Product:
  text = run.instruction.attributes

  def axes(name: str) -> list[int]:
    found = re.search(name + r'=\{([\d,]*)\}', text)
    return [int(number) for number in re.findall(r'\d+', found[1])] if found else []

  (left, *_), (right, *_) = operands[:2]
  inner_left, inner_right = axes('lhs_contracting_dims'), axes('rhs_contracting_dims')
  inner = math.prod(left.dims[axis] for axis in inner_left)
  batch = math.prod(left.dims[axis] for axis in axes('lhs_batch_dims'))
  transposed = len(left.dims) - 1 not in inner_left, len(right.dims) - 1 in inner_right
  return _product(left, right, run.instruction.shapes[0], batch, inner, *transposed)


def _from_onednn(run: Run, operands: list[tuple[Shape, ...]]) -> Product:
  (left, *_), (right, *_) = operands[:2]
  out = run.instruction.shapes[0]
  transposed = tuple(f'"transpose_{side}":true' in run.instruction.attributes for side in 'ab')
  inner = left.dims[-2 if transposed[0] else -1]
  return _product(left, right, out, math.prod(out.dims[:-2]), inner, *transposed)


def _product(left: Shape, right: Shape, out: Shape, batch: int, inner: int, *transposed: bool) -> Product:
  rows, columns = (side.size // (batch * inner) for side in (left, right))
  return Product(batch, rows, inner, columns, *transposed, left.dtype, out.dtype)


def name_class(module: Module, run: Run, depth: int = 3) -> str:
  """The class of an instruction that is no product.

  Reductions in steps and other parts that XLA made itself come from no function: they are of what they read.
  """
  instruction = run.instruction
  own = _by_functions(module.functions(instruction))
  if own == CAST:
    return own
  inside = [part for name in instruction.called for part in module.computations.get(name, ())] or [instruction]
  if all(part.opcode in _MOVES for part in inside):
    return COPIES
  if own:
    return own
  sizes: dict[str, int] = collections.defaultdict(int)
  for part in inside:
    found = _by_functions(module.functions(part))
    if found:
      sizes[found] += sum(shape.size for shape in part.shapes)
  if sizes:
    return max(sizes, key=lambda name: sizes[name])
  beside = {each.name: each for each in module.computations[run.computation]}
  for name in instruction.operands if depth else ():
    if name in beside and beside[name].opcode not in ('parameter', 'get-tuple-element', 'constant'):
      found = name_class(module, dataclasses.replace(run, instruction=beside[name]), depth - 1)
      if found not in (OTHERS, COPIES):
        return found
  return OTHERS


def _by_functions(functions: tuple[str, ...]) -> str:
  for function in functions:
    for name, pattern in CLASSES:
      if re.search(pattern, function):
        return name
  return ''
