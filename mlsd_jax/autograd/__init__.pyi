from .compiler import Program, compile_graph
from .drawing import to_svg, write_svg
from .engine import Value, no_grad
from .expression import parse_expression
from .functions import gradients, softmax
from .gradient_check import check
from .nn import MLP, Layer, Module, Neuron

__all__ = [
  'MLP',
  'Layer',
  'Module',
  'Neuron',
  'Program',
  'Value',
  'check',
  'compile_graph',
  'gradients',
  'no_grad',
  'parse_expression',
  'softmax',
  'to_svg',
  'write_svg',
]
