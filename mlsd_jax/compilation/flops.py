"""Floating-point operations of the matrix products of a compiled program, rounds of loops counted."""

import math
import re

import numpy as np

from mlsd_jax.compilation.hlo import Module, Run, Shape

_KERNELS = re.compile(r'custom_call_target="([^"]*)"')


def count_flops(module: Module) -> tuple[float, dict[str, int]]:
  """Operations a device and step of all matrix products that the program spells out.

  Returns:
    2 x rows x columns x inner size, summed; and by name how often kernels run whose work is inside them (attention).
  """
  total = 0.0
  kernels: dict[str, int] = {}
  for run in module.runs():
    instruction = run.instruction
    if instruction.opcode == 'dot':
      total += 2.0 * instruction.shapes[0].size * _dot_inner(run, module.operand_shapes(run)) * run.times
    elif instruction.opcode == 'convolution':
      total += 2.0 * _convolution_products(run, module.operand_shapes(run)) * run.times
    elif instruction.opcode == 'custom-call':
      name = (_KERNELS.search(instruction.attributes) or ['', ''])[1]
      if 'cublas' in name:
        inner = _cublas_inner(run, module.operand_shapes(run))
        total += 2.0 * instruction.shapes[0].size * inner * run.times
      elif name in ('tpu_custom_call', '__triton') or 'fmha' in name or 'cudnn' in name:
        kernels[name] = kernels.get(name, 0) + run.times
  return total, kernels


def _numbers(pattern: str, text: str) -> list[int]:
  found = re.search(pattern, text)
  return [int(number) for number in re.findall(r'\d+', found[1])] if found else []


def _dot_inner(run: Run, shapes: list[tuple[Shape, ...]]) -> int:
  contracted = _numbers(r'lhs_contracting_dims=\{([\d,]*)\}', run.instruction.attributes)
  return math.prod(shapes[0][0].dims[i] for i in contracted) if shapes and shapes[0] else 0


def _cublas_inner(run: Run, shapes: list[tuple[Shape, ...]]) -> int:
  contracted = _numbers(r'"lhs_contracting_dimensions":\[([^\]]*)\]', run.instruction.attributes)
  return math.prod(shapes[0][0].dims[i] for i in contracted) if shapes and shapes[0] else 0


def _convolution_products(run: Run, shapes: list[tuple[Shape, ...]]) -> int:
  """Multiplications of a convolution that meet neither padding nor the holes of a dilated input.

  TPUs write matrix products as convolutions, whose batch dimensions are spatial ones: of those almost all meet holes.
  """
  text = run.instruction.attributes
  labels = re.search(r'dim_labels=(\w+)_(\w+)->(\w+)', text)
  if len(shapes) < 2 or not shapes[0] or not shapes[1] or not labels:
    return 0
  sizes = [
    dict(zip(names, shape.dims, strict=True))
    for names, shape in zip(labels.groups(), (shapes[0][0], shapes[1][0], run.instruction.shapes[0]), strict=True)
  ]
  window = dict(re.findall(r'(\w+)=([\dx_-]+)', (re.search(r'window=\{([^}]*)\}', text) or ['', ''])[1]))
  products = sizes[1]['i'] * sizes[2]['b'] * sizes[2]['f']
  taps = [int(size) for size in window.get('size', '').split('x') if size]
  if not taps:
    return products
  numbers = lambda name: [int(value) for value in window.get(name, 'x'.join('1' * len(taps))).split('x')]
  low = [int(pad.partition('_')[0]) for pad in window.get('pad', 'x'.join(['0_0'] * len(taps))).split('x')]
  spread = zip(taps, numbers('stride'), numbers('lhs_dilate'), numbers('rhs_dilate'), low, strict=True)
  for place, (size, stride, dilation, between, before) in enumerate(spread):
    inputs, outputs = sizes[0].get(str(place), 1), sizes[2].get(str(place), 1)
    at = np.add.outer(np.arange(outputs) * stride, np.arange(size) * between) - before
    products *= int(((at >= 0) & (at <= (inputs - 1) * dilation) & (at % dilation == 0)).sum())
  return products
