"""An index on disk: generations, of which a save adds one and the newest two are kept.

FOLDER/index-000007.json      the manifest: written last, with the digest of its content
FOLDER/journal-000007.log     what changed since
FOLDER/segments/NAME/         shared by the generations that name it
"""

import contextlib
import pathlib
import re
import shutil
from collections.abc import Iterator
from typing import Any

from mlsd_jax import files, sealed
from mlsd_jax.ann.checks import shown
from mlsd_jax.ann.journal import Journal
from mlsd_jax.ann.segment import Segment
from mlsd_jax.errors import UserError

FORMAT = 2
_KEPT = 2


class Folder:
  """The folder of one index."""

  def __init__(self, path: str | pathlib.Path):
    try:
      self.path = pathlib.Path(path).expanduser().absolute()
    except (TypeError, RuntimeError) as error:  # no path at all; no such user's home
      raise UserError(f'folder={shown(path)}: {error}') from error
    if not str(path):
      raise UserError("folder='': name a folder")

  @property
  def segments(self) -> pathlib.Path:
    return self.path / 'segments'

  def journal(self, generation: int) -> pathlib.Path:
    return self.path / f'journal-{generation:06d}.log'

  def manifest(self, generation: int) -> pathlib.Path:
    return self.path / f'index-{generation:06d}.json'

  def generations(self) -> list[int]:
    """Those there are a manifest of, ascending."""
    found = (re.fullmatch(r'index-(\d{6,})\.json', path.name) for path in self.path.glob('index-*.json'))
    return sorted(int(match[1]) for match in found if match)

  def stamp(self) -> tuple[int, int]:
    """The newest generation and the bytes of its journal: it differs after every save and every change."""
    newest = max(self.generations(), default=0)
    journal = self.journal(newest)
    return newest, journal.stat().st_size if journal.is_file() else 0

  def read(self, generation: int | None, *, contents: bool) -> tuple[int, dict[str, Any]]:
    """The manifest of a generation (the newest if None) whose files were checked.

    Raises:
      UserError: no index is there, or it is damaged; then the message names the generation that is whole.
    """
    there = self.generations()
    if not there:
      raise UserError(f'no index in {self.path}: no file index-000001.json or later')
    if generation is not None and generation not in there:
      raise UserError(f'no generation {generation} in {self.path}; there are {", ".join(map(str, there))}')
    wanted = there[-1] if generation is None else generation
    manifest, wrong = self._checked(wanted, contents)
    if wrong is None:
      assert manifest is not None
      return wanted, manifest
    whole = [other for other in there if other != wanted and self._checked(other, True)[1] is None]
    hint = f'; generation {whole[-1]} is whole: open it with generation={whole[-1]}' if whole else ''
    raise UserError(f'generation {wanted} of the index in {self.path}: {wrong}{hint}')

  def _checked(self, generation: int, contents: bool) -> tuple[dict[str, Any] | None, str | None]:
    path = self.manifest(generation)
    try:
      manifest = _manifest(path)
    except UserError as error:
      return None, str(error)
    if not self.journal(generation).is_file():
      return None, f'{self.journal(generation).name} is missing'
    for entry in manifest['segments']:
      wrong = Segment.check(self.segments / entry['name'], entry, contents=contents)
      if wrong:
        return None, wrong
    return manifest, None

  def commit(self, generation: int, manifest: dict[str, Any]) -> None:
    """Makes a generation, whose segments and journal are written, the newest."""
    sealed.write_json(self.manifest(generation), manifest)
    self._sweep()

  def damage(self) -> str | None:
    """What is wrong with the newest generation, naming the file; None if nothing is."""
    try:
      newest, _ = self.read(None, contents=True)
      for _ in Journal(self.journal(newest)).records():
        pass
    except UserError as error:
      return str(error)
    return None

  def _sweep(self) -> None:
    """Removes what no kept generation names, and what killed saves left."""
    kept = self.generations()[-_KEPT:]
    named: set[str] = set()
    for generation in kept:
      with contextlib.suppress(UserError):
        named |= {entry['name'] for entry in _manifest(self.manifest(generation))['segments']}
    for path in [*self.path.glob('index-*.json'), *self.path.glob('journal-*.log')]:
      if int(re.sub(r'\D', '', path.name) or -1) not in kept:
        path.unlink(missing_ok=True)
    for path in self.segments.iterdir() if self.segments.exists() else ():
      if path.name not in named:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def writing(path: pathlib.Path) -> Iterator[None]:
  """Turns what a full disk or a closed folder raises into one line. ScaNN raises RuntimeError for both."""
  try:
    yield
  except (OSError, RuntimeError) as error:
    reason = getattr(error, 'strerror', None) or str(error).splitlines()[0]
    raise UserError(f'cannot write the index to {path}: {reason}; the last index saved there is untouched') from error


def _manifest(path: pathlib.Path) -> dict[str, Any]:
  """Raises: UserError: it is damaged, or of another format."""
  content = files.read_json(path)
  if isinstance(content, dict) and isinstance(content.get('index'), dict):
    raise UserError(f'{path.name} has format 1; this program reads {FORMAT}: build the index again')
  manifest = sealed.read_json(path)
  if manifest.get('format') != FORMAT:
    raise UserError(
      f'{path.name} has format {manifest.get("format")}; this program reads {FORMAT}: build the index again'
    )
  return manifest
