"""What TensorBoard is handed: a graph that says what a function computes, and vectors with their labels."""

import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2, graph_pb2

from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.training import tensorboard

CONFIG = bert.BertConfig(vocab_size=40, context_length=16, num_layers=3, num_heads=2, embed_dim=8, mlp_dim=16)


def encoder_arguments():
  params = jax.eval_shape(lambda key: bert.init(key, CONFIG), jax.random.key(0))
  return params, jax.ShapeDtypeStruct((2, 5), jnp.int32), jax.ShapeDtypeStruct((2, 5), bool)


def embed(params, tokens, mask):
  return bert.embed(params, tokens, mask, CONFIG, 'mean')


def test_a_graph_is_closed_acyclic_and_has_every_parameter_in_its_block():
  params, *arrays = encoder_arguments()
  graph = tensorboard.graph_def(embed, params, *arrays, names=['', 'tokens', 'mask'])
  names = [node.name for node in graph.node]
  assert len(set(names)) == len(names)
  place = {name: number for number, name in enumerate(names)}
  assert all(place[source] < place[node.name] for node in graph.node for source in node.input)
  assert {'tokens', 'mask', 'token_embedding', 'output'} <= set(names)
  for number in range(3):
    assert f'block_{number}/qkv/kernel' in names
    assert any(name.startswith(f'block_{number}/attention/') for name in names)
  leaves = len(jax.tree.leaves(params))
  assert sum(node.op == 'Parameter' for node in graph.node) == leaves + 2


def test_a_graph_has_the_products_of_the_program_that_is_run():
  graph = tensorboard.graph_def(embed, *encoder_arguments())
  products = sum(node.op == 'dot_general' for node in graph.node)
  assert products == 3 * 6 + 1  # qkv, two of attention, out, up, down; the mean over tokens
  assert {
    tuple(d.size for d in node.attr['_output_shapes'].list.shape[0].dim) for node in graph.node if node.op == 'Output'
  } == {(2, 8)}


def test_jitted_functions_are_drawn_through():
  inner = jax.jit(lambda x: jnp.sin(x) + 1.0)
  graph = tensorboard.graph_def(lambda x: inner(x) * inner(x), jnp.ones(3), names=['x'])
  operations = [node.op for node in graph.node]
  assert operations.count('sin') == 2
  assert 'jit' not in operations
  assert 'pjit' not in operations


def test_event_file_holds_the_graph(tmp_path):
  count = tensorboard.write_graph(tmp_path, embed, *encoder_arguments())
  tensorboard.write_projector(tmp_path, np.eye(3), {'page': ['a', 'b', 'c']}, 'pages')  # within the same second
  paths = tmp_path.glob('events.out.tfevents.*')
  graphs = [
    graph_pb2.GraphDef.FromString(event.graph_def) for path in paths for event in _events(path) if event.graph_def
  ]
  assert [len(graph.node) for graph in graphs] == [count]


def test_projector_rows_keep_their_labels(tmp_path):
  vectors = np.arange(12.0).reshape(4, 3)
  columns = {'page': ['a', 'two\tparts', 'line\nbreak', ''], 'folder': ['x', 'x', 'y', 'y']}
  tensorboard.write_projector(tmp_path, vectors, columns, 'pages')
  lines = next(tmp_path.rglob('metadata.tsv')).read_text().splitlines()
  assert lines == ['page\tfolder', 'a\tx', 'two parts\tx', 'line break\ty', '-\ty']
  np.testing.assert_array_equal(np.loadtxt(next(tmp_path.rglob('tensors.tsv')), delimiter='\t'), vectors)
  assert 'pages' in (tmp_path / 'projector_config.pbtxt').read_text()


def test_nothing_to_project_is_told(tmp_path):
  with pytest.raises(UserError, match='no vectors'):
    tensorboard.write_projector(tmp_path, np.zeros((0, 3)), {'page': []}, 'pages')


def _events(path):
  """Events of a TFRecord file: length, its checksum, data, its checksum."""
  content = path.read_bytes()
  while content:
    (length,) = struct.unpack('<Q', content[:8])
    yield event_pb2.Event.FromString(content[12 : 12 + length])
    content = content[16 + length :]
