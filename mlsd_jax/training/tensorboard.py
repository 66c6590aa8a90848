"""What TensorBoard shows besides curves: a function as a graph of operations, and vectors in the projector."""

import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core
from tensorboardX import SummaryWriter
from tensorboardX.proto import attr_value_pb2, graph_pb2, node_def_pb2, tensor_shape_pb2, types_pb2

from mlsd_jax.errors import UserError

_TYPES = {'float32': types_pb2.DT_FLOAT, 'int32': types_pb2.DT_INT32, 'bool': types_pb2.DT_BOOL}


def graph_def(function: Any, *args: Any, names: Sequence[str] | None = None) -> graph_pb2.GraphDef:
  """The operations of `function(*args)` as TensorFlow's GraphDef, the format that TensorBoard draws.

  Each equation of the jaxpr is a node under the jax.named_scope it was made in, each leaf of `args` a node at its path:
  a parameter 'blocks/0/qkv/kernel' is drawn inside the scope 'blocks/0'. Calls of jitted functions are drawn through.

  Args:
    args: pytrees of arrays or jax.ShapeDtypeStruct; nothing is computed.
    names: of the arguments; '' puts the leaves of one at the top. Default: 'arg0', 'arg1', ...
  """
  jaxpr = jax.make_jaxpr(function)(*args)
  prefixes = [f'arg{number}' for number in range(len(args))] if names is None else names
  graph = _Graph()
  values: dict[Any, str] = {}
  paths = [
    '/'.join(filter(None, [prefix, *(str(getattr(key, 'key', getattr(key, 'idx', ''))) for key in path)]))
    for prefix, arg in zip(prefixes, args, strict=True)
    for path, _ in jax.tree_util.tree_leaves_with_path(arg)
  ]
  for variable, path in zip(jaxpr.jaxpr.invars, paths, strict=True):
    values[variable] = graph.add(_joined('', path), 'Parameter', [], [variable.aval])
  for variable in jaxpr.jaxpr.constvars:
    values[variable] = graph.add('constant', 'Const', [], [variable.aval])
  _add_equations(graph, jaxpr.jaxpr, values, scope='')
  for result in jaxpr.jaxpr.outvars:
    if not isinstance(result, core.Literal):
      graph.add('output', 'Output', [values[result]], [result.aval])
  return graph.definition


class _Graph:
  """A GraphDef in the making: names are made unique by a number, as TensorFlow does."""

  def __init__(self) -> None:
    self.definition = graph_pb2.GraphDef()
    self._names: set[str] = set()

  def add(self, name: str, operation: str, inputs: Sequence[str], avals: Sequence[Any]) -> str:
    numbered = itertools.chain([name], (f'{name}_{number}' for number in itertools.count(1)))
    unique = next(each for each in numbered if each not in self._names)
    self._names.add(unique)
    node = node_def_pb2.NodeDef(name=unique, op=operation, input=list(dict.fromkeys(inputs)))
    shapes = [tensor_shape_pb2.TensorShapeProto(dim=[_dim(size) for size in aval.shape]) for aval in avals]
    node.attr['_output_shapes'].list.CopyFrom(attr_value_pb2.AttrValue.ListValue(shape=shapes))
    if avals and str(avals[0].dtype) in _TYPES:
      node.attr['T'].type = _TYPES[str(avals[0].dtype)]
    self.definition.node.append(node)
    return unique


def _dim(size: int) -> tensor_shape_pb2.TensorShapeProto.Dim:
  return tensor_shape_pb2.TensorShapeProto.Dim(size=size)


def _add_equations(graph: _Graph, jaxpr: Any, values: dict[Any, str], scope: str) -> None:
  """Adds a node an equation; `values` says which node made each variable, and gets those made here."""

  def node_of(variable: Any) -> str:
    if isinstance(variable, core.Literal):
      return graph.add(_joined(here, 'constant'), 'Const', [], [variable.aval])
    return values[variable]

  for equation in jaxpr.eqns:
    here = _joined(scope, str(equation.source_info.name_stack))
    inner = next((equation.params[name] for name in ('jaxpr', 'call_jaxpr') if name in equation.params), None)
    body = getattr(inner, 'jaxpr', inner)
    if body is not None and len(body.invars) == len(equation.invars):  # a jitted function, a custom derivative
      bound = {into: node_of(given) for into, given in zip(body.invars, equation.invars, strict=True)}
      bound |= {each: graph.add(_joined(here, 'constant'), 'Const', [], [each.aval]) for each in body.constvars}
      _add_equations(graph, body, bound, here)
      nodes = [node_of(each) if isinstance(each, core.Literal) else bound[each] for each in body.outvars]
      values.update(zip(equation.outvars, nodes, strict=True))
      continue
    operands = [values[each] for each in equation.invars if not isinstance(each, core.Literal)]
    avals = [variable.aval for variable in equation.outvars]
    node = graph.add(_joined(here, equation.primitive.name), equation.primitive.name, operands, avals)
    values.update(dict.fromkeys(equation.outvars, node))


def _joined(scope: str, name: str) -> str:
  """A node's name, of the characters that TensorFlow allows: an einsum's scope is its equation.

  A list of modules is not a room of its own: 'blocks/3' is 'block_3', so that blocks are seen at once, in a row.
  """
  legal = re.sub(r'[^\w./-]+', '_', f'{scope}/{name}'.strip('/'))
  return re.sub(r'\b(\w+)s/(\d+)(?=/)', r'\1_\2', legal)


def write_graph(folder: pathlib.Path, function: Any, *args: Any, names: Sequence[str] | None = None) -> int:
  """Adds the graph of `function(*args)` (see `graph_def`) to the event files of `folder`; how many nodes it has."""
  graph = graph_def(function, *args, names=names)
  # Event files are named by the second: without a suffix, what is written next would take this one's place.
  with SummaryWriter(str(folder), filename_suffix='.graph') as writer:
    # Not add_graph, which traces PyTorch modules; not the file writer's, which asks for step statistics too.
    writer._get_file_writer().add_onnx_graph(graph)
  return len(graph.node)


def write_projector(folder: pathlib.Path, vectors: np.ndarray, columns: Mapping[str, Sequence[str]], name: str) -> None:
  """Vectors for TensorBoard's projector, with what each of them stands for.

  Args:
    vectors: [N, D]; the projector shows some 10,000 of them well.
    columns: by title, a text for each vector, such as its page and its folder.

  Raises:
    UserError: there are no vectors.
  """
  if not len(vectors):
    raise UserError('there are no vectors to project')
  # Rows of a TSV file: what would end one early is a space instead.
  rows = [[' '.join(text.split()) or '-' for text in row] for row in zip(*columns.values(), strict=True)]
  with SummaryWriter(str(folder), filename_suffix='.projector') as writer:
    if len(columns) == 1:
      writer.add_embedding(np.asarray(vectors, np.float32), metadata=[row[0] for row in rows], tag=name)
    else:
      header = list(columns)
      writer.add_embedding(np.asarray(vectors, np.float32), metadata=rows, metadata_header=header, tag=name)
