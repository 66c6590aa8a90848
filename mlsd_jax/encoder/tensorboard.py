"""An encoder as TensorBoard shows it: its blocks as a graph of operations, the texts it embedded in the projector."""

import pathlib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.models import bert
from mlsd_jax.training import tensorboard


def write(
  encoder: Encoder, vectors: np.ndarray, columns: Mapping[str, Sequence[str]], folder: pathlib.Path, rows: int = 8
) -> int:
  """Writes event files and the projector's tables to `folder`; how many nodes the graph has.

  Args:
    vectors: [N, D] of texts that `encoder` embedded.
    columns: by title, what to show beside each vector.
    rows: texts of the batch whose graph is drawn; only the shapes on its edges depend on it.
  """
  model = encoder.model
  shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), model.params)
  tokens = jax.ShapeDtypeStruct((rows, model.max_length), jnp.int32)
  mask = jax.ShapeDtypeStruct((rows, model.max_length), jnp.bool_)
  embed = lambda params, tokens_BT, mask_BT: bert.embed(params, tokens_BT, mask_BT, model.config, model.pooling)
  count = tensorboard.write_graph(folder, embed, shapes, tokens, mask, names=['', 'tokens', 'mask'])
  tensorboard.write_projector(folder, vectors, columns, 'pages')
  return count
