"""Bytes of files that others wrote: text in any Unicode encoding, lines of bounded size, what is packed in .gz."""

import codecs
import contextlib
import gzip
import io
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, cast

from mlsd_jax.errors import UserError

LINE_BYTES = 64 * 2**20  # a longer line is a bomb, or a file that is not made of lines
FILE_BYTES = 256 * 2**20  # of what is read whole; the largest vocabularies have a tenth of that
_BLOCK = 2**20

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
  (codecs.BOM_UTF32_LE, 'utf-32-le'),
  (codecs.BOM_UTF32_BE, 'utf-32-be'),
  (codecs.BOM_UTF8, 'utf-8'),
  (codecs.BOM_UTF16_LE, 'utf-16-le'),
  (codecs.BOM_UTF16_BE, 'utf-16-be'),
)


def encoding_of(head: bytes) -> tuple[str, int]:
  """The encoding that a byte-order mark names ('utf-8' without one), and the mark's length."""
  return next(((name, len(mark)) for mark, name in _MARKS if head.startswith(mark)), ('utf-8', 0))


def decode(content: bytes, what: str) -> str:
  """Text in UTF-8, or in what its byte-order mark says, with line ends as newlines.

  Raises:
    UserError: it is no text, or not in that encoding.
  """
  encoding, mark = encoding_of(content)
  if encoding == 'utf-8' and (likely := unmarked_utf16(content)):
    raise UserError(f'{what} looks like {likely} without a byte-order mark; convert it to UTF-8')
  if encoding == 'utf-8' and b'\0' in content[:8192]:
    raise UserError(f'{what} is a binary file, not text')
  try:
    text = content[mark:].decode(encoding)
  except UnicodeDecodeError as error:
    raise UserError(not_text(what, encoding, error.object[error.start], mark + error.start)) from error
  return newlines(text)


def unmarked_utf16(content: bytes) -> str:
  """The name of the encoding, if every other byte is mostly 0 as in Latin text in UTF-16; else ''."""
  head = content[:8192]
  zeros = head[::2].count(0), head[1::2].count(0)
  if min(zeros) or max(zeros) <= len(head) / 3:
    return ''
  return 'UTF-16-BE' if zeros[0] else 'UTF-16-LE'


def not_text(what: str, encoding: str, byte: int, position: int) -> str:
  """The line for a byte that is not of the encoding."""
  return f'{what} is not {encoding.upper()} text (byte 0x{byte:02x} at {position}); convert it to UTF-8'


def newlines(text: str) -> str:
  """`text` with CR and CR LF as LF."""
  return text.replace('\r\n', '\n').replace('\r', '\n') if '\r' in text else text


def read_bytes(path: str | os.PathLike[str], most: int = FILE_BYTES) -> bytes:
  """The content of a file, which is not held if it has more than `most` bytes.

  Raises:
    UserError: it cannot be read, or is larger.
  """
  with opened(path) as file:
    content = file.read(most + 1)
  if len(content) > most:
    raise UserError(f'{path} is too long: {megabytes(pathlib.Path(path).stat().st_size, most)}')
  return content


def read_text(path: str | os.PathLike[str], most: int = FILE_BYTES) -> str:
  """A text file as `decode` gives it.

  Raises:
    UserError: it cannot be read, has more than `most` bytes, or is no text.
  """
  return decode(read_bytes(path, most), str(path))


def megabytes(size: int, most: int) -> str:
  """'40 MB; at most 16 are read'."""
  return f'{size / 2**20:,.0f} MB; at most {most / 2**20:,.0f} are read'


@contextlib.contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
  """The bytes of a file; of one whose name ends in .gz what is packed in it.

  Raises:
    UserError: it is missing, cannot be read, or is damaged; also if that shows while it is read.
  """
  packed = os.fspath(path).lower().endswith('.gz')
  try:
    with open(path, 'rb') as file:
      if packed:
        with gzip.GzipFile(fileobj=file) as unpacked:
          yield cast(IO[bytes], unpacked)
      else:
        yield file
  except FileNotFoundError as error:
    raise UserError(f'cannot read, no such file: {path}') from error
  except (EOFError, gzip.BadGzipFile, zlib.error) as error:
    raise UserError(f'{path} is damaged: {error}') from error
  except OSError as error:
    raise UserError(f'cannot read {path}: {error.strerror or error}') from error


def most_unpacked(packed: int) -> int:
  """How many bytes are unpacked from so many at most: tables have a tenth of that, bombs ten times as much."""
  return max(2**30, 100 * packed)


def unpack(source: pathlib.Path | bytes, what: str, most: int | None = None) -> bytes:
  """What is packed in a .gz, which is not held if it has more than `most` bytes (None: `most_unpacked`).

  Raises:
    UserError: it has more, cannot be read, or is damaged.
  """
  packed = len(source) if isinstance(source, bytes) else source.stat().st_size
  most = most_unpacked(packed) if most is None else most
  try:
    opened_ = io.BytesIO(source) if isinstance(source, bytes) else source.open('rb')
    with opened_ as raw, gzip.GzipFile(fileobj=raw) as file:
      content = file.read(most + 1)
  except (EOFError, zlib.error, OSError) as error:
    raise UserError(f'{what} is damaged: {error}') from error
  if len(content) > most:
    raise UserError(
      f'{what} ({packed:,} bytes) unpacks to more than {most / 2**20:,.0f} MB; unpack it and name the file'
    )
  return content


def check_archive(source: pathlib.Path | bytes, what: str, most: int | None = FILE_BYTES) -> None:
  """Looks, before anything is unpacked, at what the files in a .zip (.docx, .xlsx, ...) say that they unpack to.

  Args:
    most: bytes; None: `most_unpacked`.

  Raises:
    UserError: it is more than `most` bytes in all, or the archive is damaged.
  """
  try:
    with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
      unpacked, packed = (sum(sizes) for sizes in zip((0, 0), *map(_sizes, archive.infolist()), strict=True))
  except (zipfile.BadZipFile, OSError) as error:
    raise UserError(f'{what} cannot be unpacked: {error}') from error
  most = most_unpacked(packed) if most is None else most
  if unpacked > most:
    raise UserError(f'{what} ({packed:,} bytes) unpacks to {megabytes(unpacked, most)}')


def _sizes(member: zipfile.ZipInfo) -> tuple[int, int]:
  return member.file_size, member.compress_size


def lines(path: str | os.PathLike[str], most: int = LINE_BYTES) -> Iterator[tuple[int, bytes | UserError]]:
  """Numbered lines of a text file in UTF-8, without ends and byte-order mark; UTF-16 and UTF-32 become UTF-8.

  Line ends are LF, CR LF and CR. In place of a line of more than `most` bytes, which is passed over without being held,
  comes the error that says so. A line may hold bytes that are no UTF-8: the lines behind it are good all the same.

  Raises:
    UserError: the file cannot be read, is damaged, or is not in the encoding that its mark says.
  """
  number = 0
  with opened(path) as file:
    readline = _decoded_lines(file, str(path))
    while line := readline(most + 2):
      content = line.removesuffix(b'\n').removesuffix(b'\r')
      if len(content) > most:
        number += 1
        while line and not line.endswith(b'\n'):
          line = readline(_BLOCK)
        yield number, UserError(f'{path}, line {number}: longer than {most / 2**20:,.0f} MB')
        continue
      for part in content.split(b'\r'):
        number += 1
        yield number, part


def _decoded_lines(file: IO[bytes], what: str) -> Callable[[int], bytes]:
  """A `readline` that has left out the byte-order mark, and gives UTF-8."""
  head = file.read(4)
  encoding, mark = encoding_of(head)
  if encoding != 'utf-8':
    return _Recoded(file, head[mark:], encoding, what).readline
  rest = head[mark:]

  def readline(size: int) -> bytes:
    nonlocal rest
    if not rest:
      return file.readline(size)
    end = rest.find(b'\n') + 1
    line, rest = (rest[:end], rest[end:]) if end else (rest, b'')
    return line if end else line + file.readline(size - len(line))

  return readline


class _Recoded:
  """Lines of a file in another encoding, as UTF-8."""

  def __init__(self, file: IO[bytes], head: bytes, encoding: str, what: str):
    self._file, self._held, self._encoding, self._what = file, b'', encoding, what
    self._decoder = codecs.getincrementaldecoder(encoding)()
    self._held = self._recode(head, final=False)

  def _recode(self, block: bytes, final: bool) -> bytes:
    try:
      return self._decoder.decode(block, final=final).encode()
    except UnicodeDecodeError as error:
      raise UserError(
        f'{self._what} is not {self._encoding.upper()} text ({error.reason}); convert it to UTF-8'
      ) from error

  def readline(self, size: int) -> bytes:
    while b'\n' not in self._held and len(self._held) < size:
      block = self._file.read(min(_BLOCK, size))
      self._held += self._recode(block, final=not block)
      if not block:
        break
    end = self._held.find(b'\n', 0, size) + 1 or min(size, len(self._held))
    line, self._held = self._held[:end], self._held[end:]
    return line
