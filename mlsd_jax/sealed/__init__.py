"""Folders that are whole or do not count: checksums when written, compared when opened, one writer at a time.

And the log that only grows, of what happens between two versions of such a folder.
"""

from mlsd_jax.sealed.append_log import AppendLog
from mlsd_jax.sealed.cached import cached_file, check_file, delete_file, write_file
from mlsd_jax.sealed.digests import VERIFY, damage, seal_file, seal_files, verify_fully
from mlsd_jax.sealed.json_files import read_json, write_json
from mlsd_jax.sealed.lock import lock
from mlsd_jax.sealed.versions import Versions

__all__ = [
  'VERIFY',
  'AppendLog',
  'Versions',
  'cached_file',
  'check_file',
  'damage',
  'delete_file',
  'lock',
  'read_json',
  'seal_file',
  'seal_files',
  'verify_fully',
  'write_file',
  'write_json',
]
