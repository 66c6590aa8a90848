"""A store of embeddings by the text they are of: what was embedded once is not embedded again.

The folder holds shards, each written whole or not at all, with its checksum in its name's companion. A killed run
loses at most the shard it was at; a changed corpus embeds only its new texts. All shards are of one encoder.
"""

import hashlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from mlsd_jax import files, sealed
from mlsd_jax.errors import UserError

KEY_BYTES = 16
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
    self._where: dict[bytes, tuple[int, int]] = {}
    self._shards: list[np.ndarray] = []
    self._next = 0
    for note in sorted(folder.glob('shard-*.json')):
      self._next = max(self._next, int(note.stem.removeprefix('shard-')) + 1)
      self._add(note)

  def __len__(self) -> int:
    return len(self._where)

  def __contains__(self, text: str) -> bool:
    return text_keys([text]).tobytes() in self._where

  def embed(self, texts: Sequence[str], encode: Encode, *, shard_size: int, on_texts: Callable[[int], None]) -> None:
    """Embeds the texts that are not there yet, `shard_size` at a time.

    Raises:
      UserError: a shard cannot be written; those before stay.
    """
    keys = text_keys(texts)
    missing = {key.tobytes(): i for i, key in enumerate(keys) if key.tobytes() not in self._where}
    places = list(missing.values())
    on_texts(len(texts) - len(places))
    for start in range(0, len(places), shard_size):
      chosen = places[start : start + shard_size]
      self._write(keys[chosen], encode([texts[i] for i in chosen]))
      on_texts(len(chosen))

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
      path = pathlib.Path(str(self._shards[shard].filename))  # type: ignore[attr-defined]
      for other in (path.with_suffix('.json'), path.with_suffix('.keys.npy'), path):  # the note first: then it is gone
        other.unlink(missing_ok=True)
    self._where = {key: place for key, place in self._where.items() if place[0] in used}
    return len(unused)

  def _write(self, keys: np.ndarray, vectors: np.ndarray) -> None:
    stem = self.folder / f'shard-{self._next:06d}'
    self._next += 1
    checksums = {}
    for path, array in ((stem.with_suffix('.keys.npy'), keys), (stem.with_suffix('.npy'), vectors.astype(np.float32))):
      with files.atomic_path(path) as temporary:
        np.save(temporary, array)
        checksums[path.name] = sealed.seal_file(temporary)
    sealed.write_json(stem.with_suffix('.json'), checksums)  # last: a shard without it is not there
    self._add(stem.with_suffix('.json'))

  def _add(self, note: pathlib.Path) -> None:
    try:
      damage = sealed.damage(note.parent, sealed.read_json(note))
    except UserError as error:
      damage = str(error)
    if damage:
      self._warn(f'embeddings are made anew: {damage}')
      note.unlink(missing_ok=True)
      return
    keys = np.load(note.with_suffix('.keys.npy'))
    self._shards.append(np.load(note.with_suffix('.npy'), mmap_mode='r'))
    self._where |= {key.tobytes(): (len(self._shards) - 1, row) for row, key in enumerate(keys)}
