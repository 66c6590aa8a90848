"""Texts to unit vectors, and pairs of texts to relevance, with a BERT encoder.

encoder = load_encoder()                                        # all-MiniLM-L6-v2
vectors = encoder.encode(['a text', 'another'])                 # [2, 384] float32, unit length
queries = encoder.encode(['what is asked'], kind='query')
similarity = queries @ vectors.T
"""

import collections
import dataclasses
import functools
import hashlib
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from mlsd_jax.encoder import known_text, model_folder
from mlsd_jax.encoder.length_batches import Shapes, padded, pair_ids, text_ids
from mlsd_jax.encoder.model_folder import MINILM, Loaded
from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.training import sharding

KINDS = ('query', 'passage')
DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}
BATCH_TOKENS = {'cpu': 1024}  # rows x length of a batch by platform: on a CPU what fits the cache
_BATCH_TOKENS_ELSE = 65536
_IN_FLIGHT = 2  # batches handed to the device before the first result is fetched


class PairScorer(Protocol):
  """What reranking takes: a CrossEncoder, or a decoder that says yes or no (language_model/relevance.py)."""

  def score_pairs(
    self, pairs: Sequence[tuple[str, str]], *, progress: Callable[[int], None] | None = None
  ) -> np.ndarray:
    """Relevance [N] float32 of each (query, passage): higher is better."""
    ...


@dataclasses.dataclass(frozen=True, eq=False)
class _Batched:
  """What encoder and cross-encoder share: a model, the devices it is spread over, and batches of few shapes.

  Attributes:
    model: parameters, tokenizer and how they are used.
    dtype: of the matrix products; sums, norms and softmax are float32 anyway. On a CPU bfloat16 needs the flags of
      training.devices.configure_backend(bfloat16=True) before JAX starts.
    batch_tokens: rows x length of a batch; None: by platform.
  """

  model: Loaded
  dtype: str = 'float32'
  batch_tokens: int | None = None

  def __post_init__(self):
    if self.dtype not in DTYPES:
      raise UserError(f'dtype={self.dtype!r} is not one of {", ".join(DTYPES)}')

  @functools.cached_property
  def fingerprint(self) -> str:
    """SHA-256 in hexadecimal of all that the vectors depend on (but the dtype): weights, vocabulary, usage."""
    model = self.model
    digest = hashlib.sha256(model.tokenizer.fingerprint.encode())
    usage = (model.config, model.pooling, model.max_length, model.query_prefix, model.passage_prefix)
    digest.update(repr(usage).encode())
    for leaf in jax.tree.leaves(model.params):
      digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()

  def save(self, folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes a folder that loads again here, in transformers and in sentence-transformers; see model_folder.save."""
    return model_folder.save(self.model, folder)

  @functools.cached_property
  def _mesh(self) -> jax.sharding.Mesh:
    return sharding.make_mesh({'data': -1})

  @functools.cached_property
  def _params(self) -> Any:
    return jax.device_put(_in_dtype(self.model.params, DTYPES[self.dtype]), sharding.replicated(self._mesh))

  @functools.cached_property
  def _shapes(self) -> Shapes:
    platform = self._mesh.devices.flat[0].platform
    tokens = self.batch_tokens or BATCH_TOKENS.get(platform, _BATCH_TOKENS_ELSE)
    return Shapes(self.model.max_length, tokens * self._mesh.size, self._mesh.size)

  def _run(
    self,
    forward: Callable[..., jax.Array],
    ids: Sequence[Sequence[int]],
    columns: Sequence[np.ndarray],
    out: np.ndarray,
    progress: Callable[[int], None] | None,
  ) -> np.ndarray:
    """Fills `out` with forward(params, tokens, lengths, *columns, config, pooling) of every text, in their order."""
    where = sharding.batch_sharding(self._mesh)
    flying: collections.deque[tuple[np.ndarray, jax.Array]] = collections.deque()

    def land():
      chosen, result = flying.popleft()
      out[chosen] = np.asarray(result)[: len(chosen)]
      if progress is not None:
        progress(len(chosen))

    for chosen, rows, length in self._shapes.plan(np.array([len(text) for text in ids])):
      arrays = [*padded([ids[i] for i in chosen], rows, length)]
      arrays += [np.pad(column[chosen], (0, rows - len(chosen))) for column in columns]
      flying.append(
        (chosen, forward(self._params, *jax.device_put(arrays, where), self.model.config, self.model.pooling))
      )
      if len(flying) > _IN_FLIGHT:
        land()
    while flying:
      land()
    return out


class Encoder(_Batched):
  """Texts to unit vectors; see `load_encoder`."""

  @property
  def name(self) -> str:
    return self.model.name

  @property
  def dim(self) -> int:
    return self.model.config.embed_dim

  def encode(
    self, texts: Sequence[str], kind: str = 'passage', *, progress: Callable[[int], None] | None = None
  ) -> np.ndarray:
    """Unit vectors [N, D] float32 in the order of `texts`; what is longer than max_length tokens is cut.

    Args:
      kind: 'query' or 'passage': which prefix the model was trained with stands before each text.
      progress: called with the number of texts that are done since the last call.
    """
    if kind not in KINDS:
      raise UserError(f'kind={kind!r} is not one of {", ".join(KINDS)}')
    if isinstance(texts, str):
      raise UserError('encode takes a list of texts, not one text')
    prefix = self.model.query_prefix if kind == 'query' else self.model.passage_prefix
    ids = text_ids(self.model.tokenizer, [prefix + text for text in texts], self.model.max_length)
    return self._run(_embed, ids, [], np.zeros((len(ids), self.dim), np.float32), progress)

  def count_tokens(self, text: str) -> int:
    """How many tokens of max_length - 2 a text takes."""
    return len(self.model.tokenizer.first_ids(text, None))

  def known_share(self, text: str) -> float:
    """Share of a text's characters, spaces left out, that stand in pieces which may mean something to the model.

    A vocabulary without a script has its words as unknown, or takes them apart into single letters. Single signs of
    Han and the like are words, though, where the vocabulary has nearly all of a text's.
    """
    return known_text.known_share(self.model.tokenizer, text)


class CrossEncoder(_Batched):
  """(query, passage) to relevance; see `load_cross_encoder`."""

  def __post_init__(self):
    super().__post_init__()
    if 'score' not in self.model.config.heads:
      raise UserError(
        f'{self.model.name} has no head that scores pairs (classifier.weight); train one, or name another'
      )

  def score_pairs(
    self, pairs: Sequence[tuple[str, str]], *, progress: Callable[[int], None] | None = None
  ) -> np.ndarray:
    """Relevance [N] float32 of each (query, passage): higher is better, any number; in the order of `pairs`."""
    ids, split = pair_ids(self.model.tokenizer, pairs, self.model.max_length)
    return self._run(_score, ids, [np.array(split, np.int32)], np.zeros(len(ids), np.float32), progress)


def load_encoder(folder_or_name: str | os.PathLike[str] = MINILM, *, dtype: str = 'float32', **usage: Any) -> Encoder:
  """An encoder from a Hugging Face folder, or by name from an installed package or the hub.

  Args:
    usage: what is to differ from the model's own files: query_prefix, passage_prefix, pooling, max_length.

  Raises:
    UserError: see model_folder.load.
  """
  return Encoder(_used(model_folder.load(folder_or_name), usage), dtype)


def load_cross_encoder(folder_or_name: str | os.PathLike[str], *, dtype: str = 'float32', **usage: Any) -> CrossEncoder:
  """As `load_encoder`, of a folder with one-label classifier weights."""
  return CrossEncoder(_used(model_folder.load(folder_or_name), usage), dtype)


def _used(loaded: Loaded, usage: dict[str, Any]) -> Loaded:
  loaded = dataclasses.replace(loaded, **usage)
  if not 3 <= loaded.max_length <= loaded.config.context_length:
    raise UserError(f'max_length={loaded.max_length} is not from 3 to {loaded.config.context_length}')
  if loaded.pooling not in bert.POOLINGS:
    raise UserError(f'pooling={loaded.pooling!r} is not one of {", ".join(bert.POOLINGS)}')
  return loaded


def _in_dtype(params: Any, dtype: Any) -> Any:
  """Matrices of the blocks in `dtype`; tables, norms and heads stay float32, and so does the residual stream."""
  cast = lambda path, leaf: leaf.astype(dtype) if path[0].key == 'blocks' and path[-1].key == 'kernel' else leaf
  return jax.tree_util.tree_map_with_path(lambda path, leaf: jnp.asarray(cast(path, leaf)), params)


def _mask(tokens_BT: jax.Array, lengths_B: jax.Array) -> jax.Array:
  return jnp.arange(tokens_BT.shape[1]) < lengths_B[:, None]


@functools.partial(jax.jit, static_argnums=(3, 4))
def _embed(params, tokens_BT, lengths_B, config, pooling):
  return bert.embed(params, tokens_BT, _mask(tokens_BT, lengths_B), config, pooling)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _score(params, tokens_BT, lengths_B, firsts_B, config, pooling):
  types_BT = (jnp.arange(tokens_BT.shape[1]) >= firsts_B[:, None]).astype(jnp.int32)
  types_BT = jnp.minimum(types_BT, max(config.num_types - 1, 0))  # XLM-R has one for both
  return bert.score(params, tokens_BT, _mask(tokens_BT, lengths_B), types_BT, config)
