"""A corpus that no machine holds as shards: pages read, cut, embedded and indexed part by part (mlsd_jax/executor).

    OUTPUT/part-00003/vectors/       an index of the part's chunks
    OUTPUT/part-00003/rows.arrow     of each chunk: id, page, title, text

A folder is cut by files, of about equal sizes; of one file, or a corpus by name, every worker reads all pages and takes
each N-th. Nothing is held but the part that is at work.
"""

import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from mlsd_jax import reading
from mlsd_jax.ann import Index, IndexConfig
from mlsd_jax.ann.index_parts import INDEX
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, Parts, map_parts
from mlsd_jax.executor.parts import fingerprint, numbered
from mlsd_jax.retrieval.chunking import ChunkConfig, chunk_ids, chunk_text, cut
from mlsd_jax.retrieval.page_files import NoTextError, read_file
from mlsd_jax.retrieval.pages import SUFFIXES, Page, read_pages

ROWS = 'rows.arrow'
_AT_ONCE = 1024  # chunks embedded together: the composition of batches is of the part, and of nothing else
_logger = logging.getLogger(__name__)

type Task = dict[str, Any]  # {'files': [[path, name], ...]} or {'every': [k, N]}


def build_shards(
  source: str,
  output: str | os.PathLike[str],
  make_encoder: Callable[[], Encoder],
  *,
  number: int,
  chunk: ChunkConfig,
  settings: IndexConfig | None = None,
  config: ExecutorConfig | None = None,
  setup: Callable[[], object] | None = None,
  on_part: Callable[[int], object] = lambda chunks: None,
  warn: Callable[[str], None] = _logger.warning,
) -> Parts:
  """The shards of a corpus, in at most `number` parts; those that are there are not made again.

  Args:
    source: a folder, a file, or a corpus by name (pages.read_pages); all workers see it.
    output: a folder that all workers see, or a prefix of an object store.
    make_encoder: called once a worker.
    on_part: called with the chunks of each part that is made.

  Raises:
    UserError: no such corpus, shards of another in `output`, or what `map_parts` says.
  """
  tasks = _tasks(source, number, warn)
  encoder = make_encoder()
  identity = {
    'source': source,
    'files': fingerprint([_stamp(task) for task in tasks]),
    'encoder': encoder.fingerprint,
    'dtype': encoder.dtype,
    'chunk': dataclasses.asdict(chunk),
    'settings': (settings or IndexConfig()).to_json(),
  }
  here = config is None or config.kind in ('here', 'threads')
  make = (lambda: encoder) if here else make_encoder
  worker = functools.partial(_Sharder.open, make, encoder.fingerprint, source, chunk, settings or IndexConfig())
  return map_parts(
    numbered(tasks), worker, output, identity=identity, config=config, setup=setup,
    on_part=lambda name, note: on_part(note['chunks']), warn=warn,
  )  # fmt: skip


def _tasks(source: str, number: int, warn: Callable[[str], None]) -> list[Task]:
  root = pathlib.Path(source)
  if not root.is_dir():
    return [{'every': [k, number]} for k in range(number)]
  found = [(path, name) for path, name in reading.files_below(root, warn) if path.name.lower().endswith(SUFFIXES)]
  if not found:
    raise UserError(f'{source} holds no page; files ending in {", ".join(SUFFIXES)} are read')
  bytes_of = [path.stat().st_size for path, _ in found]
  # A file goes where its middle lies in the whole: parts of consecutive files, of about equal sizes.
  middle = np.cumsum(bytes_of) - np.array(bytes_of) / 2
  of_part = np.minimum(middle * number // max(sum(bytes_of), 1), number - 1).astype(int)
  groups = [[[str(found[i][0]), found[i][1]] for i in np.flatnonzero(of_part == part)] for part in range(number)]
  return [{'files': group} for group in groups if group]


def _stamp(task: Task) -> Any:
  if 'every' in task:
    return task['every']
  stats = ((name, pathlib.Path(path).stat()) for path, name in task['files'])
  return [[name, each.st_size, each.st_mtime_ns] for name, each in stats]


class _Sharder:
  """A worker, which holds an encoder."""

  def __init__(self, encoder: Encoder, source: str, chunk: ChunkConfig, settings: IndexConfig):
    self._encoder, self._source, self._chunk, self._settings = encoder, source, chunk, settings

  @classmethod
  def open(
    cls,
    make_encoder: Callable[[], Encoder],
    wanted: str,
    source: str,
    chunk: ChunkConfig,
    settings: IndexConfig,
  ) -> '_Sharder':
    encoder = make_encoder()
    if encoder.fingerprint != wanted:
      raise UserError(f'the encoder {encoder.name} that a worker has is not the one here: give all the same files')
    return cls(encoder, source, chunk, settings)

  def __call__(self, task: Task, folder: pathlib.Path) -> dict[str, Any]:
    import pyarrow
    import pyarrow.feather

    left_out: list[str] = []
    pages = list(self._pages(task, left_out.append))
    count = lambda texts: [self._encoder.count_tokens(text) for text in texts]
    cuts = [cut(page, self._chunk, count) for page in pages]
    texts = [[chunk_text(page, chunk) for chunk in chunks] for page, chunks in zip(pages, cuts, strict=True)]
    ids = chunk_ids(pages, texts)
    flat = [text for each in texts for text in each]
    vectors = np.zeros((len(flat), self._encoder.dim), np.float32)
    for at in range(0, len(flat), _AT_ONCE):
      vectors[at : at + _AT_ONCE] = self._encoder.encode(flat[at : at + _AT_ONCE], 'passage')
    made_by = self._encoder.fingerprint
    Index.build(vectors, ids, metric='dot', settings=self._settings, made_by=made_by).save(folder / INDEX)
    owners = [page for page, chunks in zip(pages, cuts, strict=True) for _ in chunks]
    columns = {
      'id': pyarrow.array(ids, pyarrow.int64()),
      'page': pyarrow.array([page.id for page in owners], pyarrow.string()),
      'title': pyarrow.array([page.title for page in owners], pyarrow.string()),
      'text': pyarrow.array(flat, pyarrow.string()),
    }
    pyarrow.feather.write_feather(pyarrow.table(columns), str(folder / ROWS), compression='uncompressed')
    return {'pages': len(pages), 'chunks': len(flat), 'left_out': left_out[:20]}

  def _pages(self, task: Task, warn: Callable[[str], None]) -> Iterator[Page]:
    if 'every' in task:
      first, step = task['every']
      yield from (page for row, page in enumerate(read_pages(self._source, warn)) if row % step == first)
      return
    for path, name in task['files']:
      try:
        yield from read_file(pathlib.Path(path), name, warn)
      except NoTextError:
        warn(f'left out, as it has no text: {name}')
      except UserError as error:
        warn(f'left out: {error}')


def left_out(parts: Parts) -> Sequence[str]:
  """Lines about what was not read, of all parts."""
  return [line for note in parts.notes.values() for line in note['left_out']]
