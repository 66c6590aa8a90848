"""Files that others wrote.

Whatever a file holds, memory stays bounded, and what is wrong is one UserError that names file and line.
"""

from mlsd_jax.reading.folder import by_suffix, files_below
from mlsd_jax.reading.json_text import RepeatedKeyError, json_lines, parse_json, read_json, strict, unique_keys
from mlsd_jax.reading.text import (
  FILE_BYTES,
  LINE_BYTES,
  check_archive,
  decode,
  encoding_of,
  lines,
  megabytes,
  newlines,
  not_text,
  opened,
  read_bytes,
  read_text,
  unmarked_utf16,
  unpack,
)
from mlsd_jax.reading.yaml_text import parse_yaml

__all__ = [
  'FILE_BYTES',
  'LINE_BYTES',
  'RepeatedKeyError',
  'by_suffix',
  'check_archive',
  'decode',
  'encoding_of',
  'files_below',
  'json_lines',
  'lines',
  'megabytes',
  'newlines',
  'not_text',
  'opened',
  'parse_json',
  'parse_yaml',
  'read_bytes',
  'read_json',
  'read_text',
  'strict',
  'unique_keys',
  'unmarked_utf16',
  'unpack',
]
