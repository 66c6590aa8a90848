"""A store of embeddings by the text they are of: what was embedded once is not embedded again.

The folder holds shards, each a sealed folder (mlsd_jax/sealed/versions.py) of keys.npy and vectors.npy. A killed run
loses at most the shards it was at; a changed corpus embeds only its new texts. All shards are of one encoder. They are
made by the executor: here, or by processes or actors of a cluster, each of which makes the encoder for itself.
"""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, map_parts
from mlsd_jax.sealed import Versions

KEY_BYTES = 16
_KEYS, _VECTORS, _STEM = 'keys.npy', 'vectors.npy', 'shard-'
type Encode = Callable[[Sequence[str]], np.ndarray]  # texts -> float32 [N, D], unit length


def text_keys(texts: Sequence[str]) -> np.ndarray:
  """uint8 [N, KEY_BYTES]: texts are equal if and only if their keys are."""
  digests = [hashlib.blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=KEY_BYTES).digest() for text in texts]
  return np.frombuffer(b''.join(digests), np.uint8).reshape(-1, KEY_BYTES)


class EmbeddingStore:
  """The shards of one encoder in one folder."""

  def __init__(self, folder: pathlib.Path, warn: Callable[[str], None]):
    """Reads the keys of what is there. A damaged shard is named by `warn` and left out: its texts are embedded anew."""
    self.folder = folder
    self._warn = warn
    self._versions = Versions(folder)
    self._where: dict[bytes, tuple[int, int]] = {}
    self._shards: list[np.ndarray] = []
    self._names: list[str] = []
    self._next = 0
    for name in sorted(self._versions.sealed()):
      self._add(name)

  def __len__(self) -> int:
    return len(self._where)

  def __contains__(self, text: str) -> bool:
    return text_keys([text]).tobytes() in self._where

  def embed(
    self,
    texts: Sequence[str],
    make_encode: Callable[[], Encode],
    *,
    shard_size: int,
    on_texts: Callable[[int], None],
    config: ExecutorConfig | None = None,
    setup: Callable[[], object] | None = None,
  ) -> int:
    """Embeds the texts that are not there yet, `shard_size` at a time; how many those were.

    A shard is encoded by itself, so that its batches are the same whoever makes it and in whatever order.

    Args:
      make_encode: called by each worker once; pickled where workers are processes.
      config, setup: see `map_parts`.

    Raises:
      UserError: a shard cannot be written, or what `map_parts` says; shards that were made stay.
    """
    keys = text_keys(texts)
    missing = {key.tobytes(): i for i, key in enumerate(keys) if key.tobytes() not in self._where}
    places = list(missing.values())
    on_texts(len(texts) - len(places))
    if not places:
      return 0
    parts = {}
    for start in range(0, len(places), shard_size):
      parts[f'{_STEM}{self._next:06d}'] = [texts[i] for i in places[start : start + shard_size]]
      self._next += 1
    map_parts(
      parts, functools.partial(_Embedder, make_encode), self.folder, identity=None, config=config, setup=setup,
      on_part=lambda name, note: on_texts(note['texts']), warn=self._warn,
    )  # fmt: skip
    for name in parts:
      self._add(name)
    return len(places)

  def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
    """Adds vectors [N, D] that another store has of texts [N] as one shard."""
    self.embed(texts, lambda: lambda _: vectors, shard_size=max(len(texts), 1), on_texts=lambda _: None)

  def vectors(self, texts: Sequence[str]) -> np.ndarray:
    """float32 [N, D] of texts that were embedded."""
    found = [self._where[key.tobytes()] for key in text_keys(texts)]
    result = np.empty((len(found), self._shards[found[0][0]].shape[1] if found else 0), np.float32)
    shards, rows = np.array(found, np.int64).reshape(-1, 2).T
    for shard in np.unique(shards):
      mine = np.flatnonzero(shards == shard)
      result[mine] = self._shards[shard][rows[mine]]
    return result

  def sweep(self, texts: Sequence[str]) -> int:
    """Deletes the shards of which no text is among the given; how many went."""
    used = {self._where[key.tobytes()][0] for key in text_keys(texts) if key.tobytes() in self._where}
    unused = [shard for shard in range(len(self._shards)) if shard not in used]
    for shard in unused:
      self._versions.delete(self._names[shard])
    for old in self.folder.glob(f'{_STEM}*.*'):  # an earlier release had files in place of folders
      if old.is_file() and not old.name.endswith('.sha256.json'):
        old.unlink()
    self._where = {key: place for key, place in self._where.items() if place[0] in used}
    return len(unused)

  def _add(self, name: str) -> None:
    number = name.removeprefix(_STEM)
    self._next = max(self._next, int(number) + 1 if number.isdecimal() else 0)
    damage = self._versions.damage(name)
    try:
      if damage is None:
        keys = np.load(self._versions.path(name) / _KEYS)
        vectors = np.load(self._versions.path(name) / _VECTORS, mmap_mode='r')
    except (OSError, ValueError) as error:
      damage = f'{self._versions.path(name)} cannot be read: {error}'
    if damage:
      self._warn(f'embeddings are made anew: {damage}')
      self._versions.move_aside(name)
      return
    self._names.append(name)
    self._shards.append(vectors)
    self._where |= {key.tobytes(): (len(self._shards) - 1, row) for row, key in enumerate(keys)}


class _Embedder:
  """A worker, which holds an encoder."""

  def __init__(self, make_encode: Callable[[], Encode]):
    self._encode = make_encode()

  def __call__(self, texts: Sequence[str], folder: pathlib.Path) -> dict[str, Any]:
    vectors = self._encode(texts)
    if len(vectors) != len(texts):
      raise UserError(f'an encoder gave {len(vectors)} vectors for {len(texts)} texts')
    np.save(folder / _KEYS, text_keys(texts))
    np.save(folder / _VECTORS, np.asarray(vectors, np.float32))
    return {'texts': len(texts)}
