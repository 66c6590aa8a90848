"""In-memory file system.

Paths are absolute, '/' the root. `mkdir(path)` makes a folder and those above it, `add_content(path, text)` appends to
a file, which it makes when need be, with its folders; `read(path)` answers a file's text, `ls(path)` the sorted names
in a folder or the name of a file. `rm(path)` removes a file or a folder with all below it, `mv(path, new)` moves one to
a path that is not taken and does not lie inside of it. A path through a file, or one that should be there and is not,
raises KeyError. An operation that raises changes nothing."""

import random
from typing import Any

from mlsd_jax.algorithms.problem import Call, Problem


class FileSystem:
  """Folders are dictionaries, files lists of the pieces that were written."""

  def __init__(self):
    self.root: dict[str, Any] = {}

  def mkdir(self, path: str) -> None:
    self._folder(_parts(path))

  def add_content(self, path: str, text: str) -> None:
    parts = _parts(path)
    if not parts:
      raise KeyError(path)
    *above, name = parts
    pieces = self._folder(above, check=name).setdefault(name, [])
    pieces.append(text)

  def read(self, path: str) -> str:
    pieces = self._find(_parts(path))
    if isinstance(pieces, dict):
      raise KeyError(path)
    pieces[:] = [''.join(pieces)]
    return pieces[0]

  def ls(self, path: str) -> list[str]:
    parts = _parts(path)
    found = self._find(parts)
    return sorted(found) if isinstance(found, dict) else [parts[-1]]

  def rm(self, path: str) -> None:
    *above, name = self._existing(path)
    del self._find(above)[name]

  def mv(self, path: str, new: str) -> None:
    *above, name = self._existing(path)
    parts = _parts(new)
    if not parts or parts[: len(above) + 1] == [*above, name] or self._is_there(parts):
      raise KeyError(new)
    # The target's folders first: where they cannot be made nothing has been moved yet.
    folder = self._folder(parts[:-1])
    folder[parts[-1]] = self._find(above).pop(name)

  def _existing(self, path: str) -> list[str]:
    parts = _parts(path)
    if not parts:
      raise KeyError(path)
    self._find(parts)
    return parts

  def _is_there(self, parts: list[str]) -> bool:
    try:
      self._find(parts)
    except KeyError:
      return False
    return True

  def _find(self, parts: list[str]) -> Any:
    node: Any = self.root
    for part in parts:
      if not isinstance(node, dict):
        raise KeyError(part)
      node = node[part]
    return node

  def _folder(self, parts: list[str], check: str | None = None) -> dict[str, Any]:
    """The folder, made when it is not there; with `check`, the name in it must not be a folder."""
    node: Any = self.root
    for part in parts:  # nothing is made before it is known that all can be made
      node = node.get(part, {})
      if not isinstance(node, dict):
        raise KeyError(part)
    if check is not None and isinstance(node.get(check), dict):
      raise KeyError(check)
    node = self.root
    for part in parts:
      node = node.setdefault(part, {})
    return node


def _parts(path: str) -> list[str]:
  return [part for part in path.split('/') if part]


class Oracle:
  """A flat list of folders and of files, by full path."""

  def __init__(self):
    self.folders, self.files = {'/'}, {}

  def _above(self, path):
    parts = path.split('/')[1:-1]
    return ['/', *('/' + '/'.join(parts[: i + 1]) for i in range(len(parts)))]

  def _make(self, folders):
    if any(folder in self.files for folder in folders):
      raise KeyError
    self.folders.update(folders)

  def _need(self, path, *kinds):
    if not any(path in kind for kind in kinds):
      raise KeyError

  def mkdir(self, path):
    self._make([*self._above(path), path] if path != '/' else ['/'])

  def add_content(self, path, text):
    if path in self.folders:
      raise KeyError
    self._make(self._above(path))
    self.files[path] = self.files.get(path, '') + text

  def read(self, path):
    return self.files[path]

  def ls(self, path):
    if path in self.files:
      return [path.split('/')[-1]]
    self._need(path, self.folders)
    start = path.rstrip('/') + '/'
    below = [each for each in [*self.folders, *self.files] if each.startswith(start) and each != '/']
    return sorted({each[len(start) :].split('/')[0] for each in below})

  def rm(self, path):
    self._need(path, self.folders - {'/'}, self.files)
    gone = lambda each: each == path or each.startswith(path + '/')
    self.folders = {each for each in self.folders if not gone(each)}
    self.files = {each: text for each, text in self.files.items() if not gone(each)}

  def mv(self, path, new):
    self._need(path, self.folders - {'/'}, self.files)
    if new in self.folders or new in self.files or (new + '/').startswith(path + '/'):
      raise KeyError
    self._make(self._above(new))
    move = lambda each: new + each[len(path) :] if (each + '/').startswith(path + '/') else each
    self.folders = {move(each) for each in self.folders}
    self.files = {move(each): text for each, text in self.files.items()}


def operations(rng: random.Random, count: int, size: int) -> list[Call]:
  width = 2 + round(size ** (1 / 3))
  path = lambda: '/' + '/'.join(f'n{rng.randrange(width)}' for _ in range(rng.choice((1, 2, 3, 3))))
  calls: list[Call] = [('FileSystem', [])]
  for _ in range(count):
    kind = rng.random()
    if kind < 0.2:
      calls.append(('mkdir', [path()]))
    elif kind < 0.5:
      calls.append(('add_content', [path(), rng.choice(('x', 'yz'))]))
    elif kind < 0.75:
      calls.append(('read', [path()]))
    elif kind < 0.85:
      calls.append(('ls', [rng.choice(('/', path()))]))
    elif kind < 0.93:
      calls.append(('rm', [path()]))
    else:
      calls.append(('mv', [path(), path()]))
  return calls


PROBLEM = Problem(
  FileSystem,
  Oracle,
  operations,
  {'mkdir': '1', 'add_content': '1', 'read': '1', 'ls': '1', 'rm': '1', 'mv': '1'},
)
