"""The files of a folder that others filled, without what lies outside of it."""

import collections
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

from mlsd_jax.printable import printable


def files_below(
  root: pathlib.Path, warn: Callable[[str], None], *, links: bool = False
) -> Iterator[tuple[pathlib.Path, str]]:
  """(path, name below `root`) of the files in a folder and below, sorted; what is hidden (.name) is left out.

  Args:
    warn: gets a line for a folder that cannot be read, and for a link that leads out of `root` or nowhere, which are
      left out.
    links: whether links to files elsewhere are followed after all.
  """
  inside = root.resolve()
  found: list[pathlib.Path] = []
  fail = lambda error: warn(f'left out: cannot read {printable(error.filename)}: {error.strerror}')
  for folder, folders, names in os.walk(root, onerror=fail):
    folders[:] = [name for name in folders if not name.startswith('.')]
    linked = [name for name in folders if os.path.islink(os.path.join(folder, name))]  # noqa: PTH114, PTH118
    found += [pathlib.Path(folder, name) for name in (*names, *linked) if not name.startswith('.')]
  for path in sorted(found):
    if path.is_symlink() and not links and (problem := _leads(path, inside)):
      warn(f'left out: {printable(str(path))} is a link that {problem}')
    elif path.is_file():
      yield path, path.relative_to(root).as_posix()


def _leads(link: pathlib.Path, inside: pathlib.Path) -> str:
  try:
    target = link.resolve(strict=True)
  except (OSError, RuntimeError):  # gone, or in a circle
    return 'leads nowhere'
  return '' if target.is_relative_to(inside) else 'leads out of the folder; name what it leads to by itself'


def by_suffix(names: Iterable[str]) -> str:
  """How many files there are of each kind: '12 .py, 3 .png, 1 without a suffix'; the most frequent first."""
  counts = collections.Counter(pathlib.PurePath(name).suffix.lower() or 'without a suffix' for name in names)
  return ', '.join(f'{count:,} {printable(suffix)}' for suffix, count in counts.most_common())
