"""A document, and the readers that stream documents out of files of each format."""

import codecs
import dataclasses
import lzma
import pathlib
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

from mlsd_jax import reading
from mlsd_jax.errors import UserError

# A longer text is read in pieces, so that memory stays bounded and workers share the encoding of one big file.
PIECE_CHARACTERS = 4 * 2**20
_GROUP_BYTES = 4 * 2**30  # of a column of Parquet; writers make groups of a gigabyte at most


@dataclasses.dataclass(frozen=True)
class Document:
  """A titled text. A long text comes as several: all but the first piece are `continued`."""

  title: str
  text: str
  continued: bool = False


def read_files(paths: list[pathlib.Path], text_key: str) -> Iterator[Document]:
  """The documents of files of any known format, in the given order. Rows and files without text are left out.

  Args:
    paths: files whose names end in one of SUFFIXES.
    text_key: key (JSONL) or column (Parquet) that holds the text.

  Raises:
    UserError: a file is missing, damaged, not UTF-8, or has no text under `text_key`; it names file and line.
  """
  for path in paths:
    yield from _reader(path)(path, text_key)


def text_bytes(paths: list[pathlib.Path], text_key: str) -> int | None:
  """About how much text the files hold, or None where only reading them tells."""
  if any(path.suffix == '.gz' for path in paths):
    return None
  return sum(_parquet_bytes(path, text_key) if path.suffix == '.parquet' else path.stat().st_size for path in paths)


def _parquet_bytes(path: pathlib.Path, text_key: str) -> int:
  import pyarrow
  import pyarrow.parquet

  try:
    footer = pyarrow.parquet.read_metadata(path)
  except pyarrow.ArrowException:  # reading will say what is wrong
    return 0
  groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
  columns = [group.column(i) for group in groups for i in range(group.num_columns)]
  return sum(column.total_uncompressed_size for column in columns if column.path_in_schema == text_key)


def read_text(path: pathlib.Path, text_key: str = '') -> Iterator[Document]:
  """One text file, UTF-8 or as its byte-order mark says, as one document; line ends become newlines."""
  with _opened(path) as file:
    yield from pieces(path.stem, file, str(path))


def read_jsonl(path: pathlib.Path, text_key: str) -> Iterator[Document]:
  """One JSON object a line, gzipped if the name ends in .gz; titled by its 'title' or 'id', else by its line number."""
  for number, row in reading.strict(reading.json_lines(path, unique=True)):
    where = f'{path}, line {number}'
    if not isinstance(row, dict):
      raise UserError(f'{where}: a JSON {type(row).__name__}, not an object')
    if text_key not in row:
      keys = ', '.join(map(repr, row)) or 'no keys'
      raise UserError(f'{where}: no text under {text_key!r} (the row has {keys}); data.text_key names the key')
    text = row[text_key]
    if text is not None and not isinstance(text, str):
      raise UserError(f'{where}: no text under {text_key!r} but a JSON {type(text).__name__}')
    yield from pieces_of(str(row.get('title') or row.get('id') or f'{path.name}:{number}'), text or '')


def read_parquet(path: pathlib.Path, text_key: str) -> Iterator[Document]:
  """One document a row, read row group by row group; titles are row numbers."""
  import pyarrow
  import pyarrow.parquet

  try:
    with pyarrow.parquet.ParquetFile(path) as table:
      if text_key not in table.schema_arrow.names:
        columns = ', '.join(map(repr, table.schema_arrow.names))
        raise UserError(f'{path} has no column {text_key!r} (it has {columns}); data.text_key names the column')
      _check_groups(table.metadata, text_key, path)
      number = 0
      for batch in table.iter_batches(batch_size=1024, columns=[text_key]):
        for text in batch.column(0).to_pylist():
          if text is not None and not isinstance(text, str):
            raise UserError(f'{path}: column {text_key!r} holds {type(text).__name__}, not text')
          yield from pieces_of(f'{path.stem}:{number}', text or '')
          number += 1
  except FileNotFoundError as error:
    raise UserError(f'no such file: {path}') from error
  except (pyarrow.ArrowException, UnicodeDecodeError) as error:
    raise UserError(f'{path} is damaged: {str(error).splitlines()[0]}') from error


def _check_groups(footer: Any, text_key: str, path: pathlib.Path) -> None:
  """Raises UserError if a row group, which is held as a whole, says that it unpacks to more than _GROUP_BYTES."""
  groups = (footer.row_group(number) for number in range(footer.num_row_groups))
  columns = ((number, group.column(i)) for number, group in enumerate(groups) for i in range(group.num_columns))
  for number, column in columns:
    size = column.total_uncompressed_size
    if column.path_in_schema == text_key and size > _GROUP_BYTES:
      raise UserError(f'{path}: row group {number} is too large: {reading.megabytes(size, _GROUP_BYTES)}')


def read_tar(path: pathlib.Path, wanted: Callable[[str], bool]) -> Iterator[Document]:
  """The text files of a compressed tar archive whose names are `wanted`, in its order."""
  try:
    with _opened(path) as file, tarfile.open(fileobj=file, mode='r|*') as archive:
      for member in archive:
        if member.isfile() and wanted(member.name):
          content = archive.extractfile(member)
          assert content is not None
          yield from pieces(pathlib.PurePosixPath(member.name).stem, content, f'{path}, {member.name}')
  except (tarfile.TarError, lzma.LZMAError, EOFError, zlib.error) as error:
    raise UserError(f'{path} is damaged: {error}') from error


def pieces(title: str, file: IO[bytes], where: str) -> Iterator[Document]:
  """A stream in UTF-8 or as its byte-order mark says, as one document, cut at a line end every PIECE_CHARACTERS."""
  head = file.read(4)
  encoding, offset = reading.encoding_of(head)
  decoder = codecs.getincrementaldecoder(encoding)()
  block = head[offset:] + file.read(PIECE_CHARACTERS)
  if encoding == 'utf-8' and (likely := reading.unmarked_utf16(block)):
    raise UserError(f'{where} looks like {likely} without a byte-order mark; convert it to UTF-8')
  held = ''
  continued = False
  while True:
    try:
      text = decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
      # The decoder's positions count from the bytes that it had kept of an unfinished character.
      position = offset + len(block) - len(error.object) + error.start
      raise UserError(reading.not_text(where, encoding, error.object[error.start], position)) from error
    offset += len(block)
    held += text
    if not block:
      break
    cut = held.rfind('\n') + 1 if len(held) >= PIECE_CHARACTERS else 0
    if cut or len(held) >= 2 * PIECE_CHARACTERS:
      cut = cut or len(held) - 1  # never between \r and \n
      yield Document(title, _newlines(held[:cut]), continued)
      held, continued = held[cut:], True
    block = file.read(PIECE_CHARACTERS)
  if held:
    yield Document(title, _newlines(held), continued)


def pieces_of(title: str, text: str) -> Iterator[Document]:
  """A text as one document, cut every PIECE_CHARACTERS."""
  for start in range(0, len(text), PIECE_CHARACTERS):
    yield Document(title, text[start : start + PIECE_CHARACTERS], start > 0)


def _newlines(text: str) -> str:
  return text.replace('\r\n', '\n').replace('\r', '\n') if '\r' in text else text


def _opened(path: pathlib.Path) -> IO[bytes]:
  try:
    return path.open('rb')
  except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
    raise UserError(f'cannot read {path}: {error.strerror}') from error


_READERS: dict[str, Callable[[pathlib.Path, str], Iterator[Document]]] = {
  '.txt': read_text,
  '.md': read_text,
  '.jsonl': read_jsonl,
  '.jsonl.gz': read_jsonl,
  '.json.gz': read_jsonl,
  '.parquet': read_parquet,
}
SUFFIXES = tuple(_READERS)
KEYED = tuple(suffix for suffix, reader in _READERS.items() if reader is not read_text)  # of rows with keys


def _reader(path: pathlib.Path) -> Callable[[pathlib.Path, str], Iterator[Document]]:
  return next(reader for suffix, reader in _READERS.items() if path.name.lower().endswith(suffix))
