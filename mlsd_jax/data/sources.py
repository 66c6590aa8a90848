"""Named real texts, and any text of the user's own, as streams of documents."""

import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator

from mlsd_jax import reading
from mlsd_jax.data import fetch, prepared_dataset, python_docs
from mlsd_jax.data.documents import KEYED, SUFFIXES, Document, read_files, read_tar, read_text, text_bytes
from mlsd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Source:
  """A text collection.

  Attributes:
    name: short, fit for a file name.
    licence: as the source states it.
    description: one line.
    documents: streams the documents, in the same order each time. Fetches what it needs; raises UserError if the data
      is absent, damaged or not UTF-8.
    fingerprint: changes whenever the documents may have; cheap, so that prepared data is found again at once.
    url: the public home, '' for what is the user's own.
    text_bytes: about how many bytes of text there are, for a progress bar; None if that is not known beforehand.
  """

  name: str
  licence: str
  description: str
  documents: Callable[[], Iterator[Document]]
  fingerprint: Callable[[], str]
  url: str = ''
  text_bytes: Callable[[], int | None] = lambda: None


_TINYSHAKESPEARE = fetch.RemoteFile(
  'input.txt',
  'https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt',
  '86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed',
)

# Published after 1929, hence not in the public domain in the US.
_NOVELS_LEFT_OUT = {'Bennet_Imperial_1930', 'Galsworthy_River_1933', 'Woolf_Years_1937'}
_NOVELS_COMMIT = '143e601875d70e195f2cc5ebd8b034609271194d'


def _is_novel(name: str) -> bool:
  path = pathlib.PurePosixPath(name)
  return path.parent.name == 'corpus' and path.suffix == '.txt' and path.stem not in _NOVELS_LEFT_OUT


def _digest_of_novels(path: pathlib.Path) -> str:
  """SHA-256 over the novels themselves: GitHub packs archives on demand and does not promise their bytes."""
  digest = hashlib.sha256()
  for document in read_tar(path, _is_novel):
    digest.update(document.text.encode())
  return digest.hexdigest()


_NOVELS = fetch.RemoteFile(
  'novels.tar.gz',
  f'https://github.com/computationalstylistics/100_english_novels/archive/{_NOVELS_COMMIT}.tar.gz',
  '1c765b55da0d2dddca71a792932c1a17c6ac6fab302889c67a3288133d236368',
  _digest_of_novels,
)
# The same 97 novels as one packs them once for a folder of data.
_NOVELS_PACKED = dataclasses.replace(
  _NOVELS,
  name='english_novels_pre1930.tar.xz',
  sha256='a00b64db7f7e855333365e349bba034a5f8887149cd729df66d693f32ae52949',
  digest=fetch.RemoteFile.digest,
)


def _read_novels() -> Iterator[Document]:
  packed = fetch.locate('novels', _NOVELS_PACKED.name)
  if packed is not None:
    fetch.check(packed, _NOVELS_PACKED)
  yield from read_tar(packed or fetch.fetch('novels', _NOVELS), _is_novel)


SOURCES = {
  source.name: source
  for source in (
    Source(
      'python_docs',
      'PSF-2.0',
      "the running interpreter's own documentation: help topics and the docstrings of the standard library",
      python_docs.documents,
      lambda: hashlib.sha256(python_docs.corpus_file().read_bytes()).hexdigest(),
    ),
    Source(
      'tinyshakespeare',
      'public domain',
      '1.1 million characters of Shakespeare in one file',
      lambda: read_text(fetch.fetch('tinyshakespeare', _TINYSHAKESPEARE)),
      lambda: _TINYSHAKESPEARE.sha256,
      _TINYSHAKESPEARE.url,
      lambda: 1_115_394,
    ),
    Source(
      'novels',
      'public domain in the US by age',
      '97 English novels from before 1930',
      _read_novels,
      lambda: _NOVELS.sha256,
      _NOVELS.url,
      lambda: 74_723_421,
    ),
  )
}


_TEXT_KEY = 'text'


def open_source(spec: str, text_key: str = _TEXT_KEY) -> Source:
  """The source that `spec` names.

  Args:
    spec: a name in SOURCES; 'tfds:NAME' or 'tfds:NAME/CONFIG', a text dataset that tensorflow-datasets has prepared in
      its data folder ($TFDS_DATA_DIR); 'hf:DIR_OR_GLOB', Parquet or JSONL files as Hugging Face ships them; else a file
      of text (.txt, .md), JSONL (.jsonl, .jsonl.gz) or Parquet, or a folder with such files in it or below.
    text_key: the key, column or feature that holds the text.

  Raises:
    UserError: there is no such source, nothing in it that can be read, or a `text_key` of what has no keys.
  """
  if spec in SOURCES:
    _check_keyed(spec, text_key, [])
    return SOURCES[spec]
  kind, _, rest = spec.partition(':')
  if kind == 'tfds' and rest:
    return Source(
      name=rest.replace('/', '-'),
      licence='as the dataset states it',
      description=f'{rest} as tensorflow-datasets has prepared it',
      documents=lambda: prepared_dataset.documents(rest, text_key),
      fingerprint=lambda: prepared_dataset.fingerprint(rest, text_key),
    )
  from_hub = kind == 'hf' and bool(rest)
  roots = _matching(rest if from_hub else spec)
  if not roots:
    names = ', '.join(SOURCES)
    raise UserError(
      f'no source {spec!r}: neither one of {names}, nor a file or folder, nor tfds:NAME, nor hf:DIR_OR_GLOB'
    )
  # A folder from the hub has a README.md that is not data.
  suffixes = [suffix for suffix in SUFFIXES if not from_hub or suffix not in ('.txt', '.md')]
  return _local(spec, roots, text_key, suffixes, links=from_hub)


def _check_keyed(spec: str, text_key: str, paths: list[pathlib.Path]) -> None:
  if text_key != _TEXT_KEY and not any(path.name.lower().endswith(KEYED) for path in paths):
    raise UserError(f'data.text_key={text_key!r} has no effect on {spec}, which is plain text without keys')


def _matching(pattern: str) -> list[pathlib.Path]:
  path = pathlib.Path(pattern).expanduser()
  if path.exists():
    return [path]
  parts = path.parts
  first = next((i for i, part in enumerate(parts) if set('*?[') & set(part)), len(parts))
  if first == len(parts):
    return []
  return sorted(pathlib.Path(*parts[:first]).glob(str(pathlib.Path(*parts[first:]))))


def _tell(line: str) -> None:
  print(line, file=sys.stderr)


def list_files(spec: str, text_key: str = _TEXT_KEY) -> list[pathlib.Path]:
  """The files of a file, folder or glob that can be read as text, in the order in which a source reads them.

  Raises:
    UserError: there is none, or a `text_key` of what has no keys.
  """
  roots = _matching(spec)
  if not roots:
    raise UserError(f'no file, folder or glob {spec!r}: only what consists of files can be cut into parts')
  return _list(spec, roots, text_key, list(SUFFIXES), links=False)


def _list(
  spec: str, roots: list[pathlib.Path], text_key: str, suffixes: list[str], *, links: bool
) -> list[pathlib.Path]:
  paths: list[pathlib.Path] = []
  others: list[str] = []
  for root in roots:
    inside = reading.files_below(root, _tell, links=links) if root.is_dir() else [(root, root.name)]
    for path, name in inside:
      if name.lower().endswith(tuple(suffixes)):
        paths.append(path)
      else:
        others.append(name)
  if not paths:
    held = f' (it has {reading.by_suffix(others)})' if others else ''
    raise UserError(f'{spec} holds no file that can be read; file names must end in one of {", ".join(suffixes)}{held}')
  _check_keyed(spec, text_key, paths)
  if others and not links:
    _tell(f'{spec}: not read: {reading.by_suffix(others)}; what is read ends in {", ".join(suffixes)}')
  if not any(path.stat().st_size for path in paths):
    raise UserError(f'{spec} is empty')
  return paths


def _local(spec: str, roots: list[pathlib.Path], text_key: str, suffixes: list[str], links: bool) -> Source:
  """Files and folders of the user's own. `links` are followed where they lead: the hub's cache is made of them."""
  paths = _list(spec, roots, text_key, suffixes, links=links)

  def fingerprint() -> str:
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return hashlib.sha256(json.dumps([text_key, stats]).encode()).hexdigest()

  name = roots[0].name if len(roots) == 1 else spec
  return Source(
    name,
    licence='as the user has it',
    description=f'{len(paths)} file{"s" if len(paths) > 1 else ""} of {spec}',
    documents=lambda: read_files(paths, text_key),
    fingerprint=fingerprint,
    text_bytes=lambda: text_bytes(paths, text_key),
  )
