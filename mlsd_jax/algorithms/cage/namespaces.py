"""Namespaces, as far as the kernel gives them: processes, network, and a root that holds a toolchain and nothing else.

Root makes them by itself. An ordinary user first makes a user namespace, in which he may; the way back from there into
the first PID namespace is barred, so that each keeper is cloned into a new one and nobody ever returns.
"""

import contextlib
import glob
import os
import socket
import sys
from collections.abc import Callable, Iterable

from . import kernel

PROGRAM, CASE, FEEDBACK, SCRATCH = '/program', '/case', '/feedback', '/tmp'
_SYSTEM = ('/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/usr', '/nix/store', '/gnu/store')
_SETTINGS = ('/etc/ld.so.cache', '/etc/alternatives', '/etc/localtime')
_DEVICES = ('/dev/null', '/dev/zero', '/dev/full', '/dev/random', '/dev/urandom')
_LINKS = {
  '/dev/fd': '/proc/self/fd',
  '/dev/stdin': '/proc/self/fd/0',
  '/dev/stdout': '/proc/self/fd/1',
  '/dev/stderr': '/proc/self/fd/2',
  '/dev/shm': SCRATCH,  # one place, with one limit, for all that is written
}
_EMPTY = '/.nothing'


def system_paths() -> list[str]:
  """What of this machine every program may read: libraries, interpreters, their settings."""
  return [path for path in (*_SYSTEM, *_SETTINGS, *sorted(glob.glob('/etc/java*'))) if os.path.lexists(path)]


class Namespaces:
  """Makes them once for this process, as many as there are.

  Attributes:
    missing: layer to the reason why it is not there.
    users: whether we are in a user namespace of our own.
    processes: whether a keeper gets a PID namespace.
    root: whether it gets a private root.
  """

  def __init__(self, wanted: bool = True):
    self.missing: dict[str, str] = {}
    self.users = self.processes = self.root = False
    self._templates: dict[tuple[tuple[str, ...], ...], int] = {}
    if not (wanted and kernel.KNOWN and hasattr(os, 'unshare')):
      why = 'switched off' if not wanted else f'not known here for {os.uname().machine}, Python {sys.version[:4]}'
      self.missing = dict.fromkeys(('processes', 'root', 'network'), why)
      return
    mounts = self._try('root', lambda: os.unshare(kernel.CLONE_NEWNS)) if os.geteuid() == 0 else False
    if not mounts:
      self.users = self._try('root', _own_user_namespace)
      mounts = self.users and self._try('root', lambda: os.unshare(kernel.CLONE_NEWNS))
    self._try('network', lambda: os.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC))
    with contextlib.suppress(OSError):
      os.unshare(kernel.CLONE_NEWUTS)
      socket.sethostname('judge')
    self.processes = self._try('processes', _clone_and_end)
    if mounts and self.processes:
      self.root = self._try('root', lambda: self.template((), ()))
    elif mounts:
      self.missing['root'] = 'it needs the PID namespace'

  def _try(self, layer: str, make: Callable[[], object]) -> bool:
    try:
      make()
    except OSError as error:
      self.missing[layer] = error.strerror or str(error)
      return False
    self.missing.pop(layer, None)
    return True

  def template(self, toolchain: tuple[str, ...], hidden: tuple[str, ...]) -> int:
    """A descriptor of a mount namespace with the system, these further paths read-only, and without the hidden ones.

    Made once; every run gets a copy.
    """
    key = (toolchain, hidden)
    if key not in self._templates:
      spaces = os.open('/proc/self/ns', os.O_PATH)  # it is root's once nobody may look into us
      before = os.open('mnt', os.O_RDONLY, dir_fd=spaces)
      try:
        os.unshare(kernel.CLONE_NEWNS)
        try:
          _build(toolchain, hidden)
          self._templates[key] = os.open('mnt', os.O_RDONLY, dir_fd=spaces)
        finally:
          os.setns(before, kernel.CLONE_NEWNS)
      finally:
        os.close(spaces)
        os.close(before)
    return self._templates[key]


def _own_user_namespace() -> None:
  """A user namespace whose only user and group are ours."""
  user, group = os.geteuid(), os.getegid()
  os.unshare(kernel.CLONE_NEWUSER)
  for name, line in (('setgroups', 'deny'), ('uid_map', f'{user} {user} 1'), ('gid_map', f'{group} {group} 1')):
    with open(f'/proc/self/{name}', 'w') as file:
      file.write(line)


def _clone_and_end() -> None:
  child = kernel.clone(kernel.CLONE_NEWPID)
  if not child:
    os._exit(0)
  os.waitpid(child, 0)


def _build(toolchain: Iterable[str], hidden: Iterable[str]) -> None:
  """Makes the new root, in a mount namespace of this process alone, and lets go of the old one."""
  kernel.mount(None, '/', None, kernel.MS_REC | kernel.MS_SLAVE)  # nothing of this must be seen outside
  links, trees = _taken(dict.fromkeys((*system_paths(), *toolchain)))
  trees += [(path, kernel.detached(path, device=True), False) for path in _DEVICES if os.path.exists(path)]
  kernel.mount('tmpfs', SCRATCH, 'tmpfs', kernel.MS_NOSUID | kernel.MS_NODEV, 'mode=755,size=1m')
  kernel.make_root(SCRATCH)
  for path in ('/dev', '/etc', '/proc', PROGRAM, CASE, FEEDBACK, SCRATCH, _EMPTY):
    os.makedirs(path, exist_ok=True)
  _show(links | _LINKS, trees)
  for path in hidden:
    if os.path.isdir(path):
      nothing = kernel.detached(_EMPTY)
      kernel.attach(nothing, path)
      os.close(nothing)
  kernel.mount(None, '/', None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | kernel.MS_NOSUID)


_Trees = list[tuple[str, int, bool]]  # path, detached mount, whether it is a folder


def _taken(paths: Iterable[str]) -> tuple[dict[str, str], _Trees]:
  """Of these paths what is a link, with its target, and detached mounts of what is there else."""
  links, trees = {}, []
  for path in paths:
    if os.path.islink(path):
      links[path] = os.readlink(path)
    elif os.path.lexists(path):
      trees.append((path, kernel.detached(path), os.path.isdir(path)))
  return links, trees


def _show(links: dict[str, str], trees: _Trees) -> None:
  """Puts all of it at the same paths, in the root that this process has now."""
  for path, tree, folder in sorted(trees):
    if _below(path, [each for each, *_ in trees if each != path]):
      pass  # it came with what is above it
    elif folder:
      os.makedirs(path, exist_ok=True)
      kernel.attach(tree, path)
    else:
      os.makedirs(os.path.dirname(path), exist_ok=True)
      os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
      kernel.attach(tree, path)
    os.close(tree)
  for path, target in links.items():
    if not os.path.lexists(path) and not _below(path, [each for each, *_ in trees]):
      os.makedirs(os.path.dirname(path), exist_ok=True)
      os.symlink(target, path)


def _below(path: str, folders: Iterable[str]) -> bool:
  return any(path.startswith(folder.rstrip('/') + '/') for folder in folders)


def enter(
  template: int, trees: Iterable[tuple[int, str]], scratch: int, owner: tuple[int, int], toolchain: Iterable[str]
) -> bool:
  """Moves this process, the first of a PID namespace, into a copy of the template; whether there is a /proc.

  Args:
    trees: detached mounts and the paths where they go.
    scratch: bytes that may be written into SCRATCH, in all.
    owner: user and group of SCRATCH.
    toolchain: the template's: what of it lies below SCRATCH, as an environment made in /tmp does, is shown there again.
  """
  try:
    proc = kernel.own_proc()
  except OSError:  # in a container whose own /proc is partly covered
    proc = -1
  os.setns(template, kernel.CLONE_NEWNS)
  os.unshare(kernel.CLONE_NEWNS)
  options = f'mode=700,uid={owner[0]},gid={owner[1]},size={scratch},nr_inodes=16384'
  links, covered = _taken(path for path in dict.fromkeys(toolchain) if _below(path, [SCRATCH]))
  kernel.mount('tmpfs', SCRATCH, 'tmpfs', kernel.MS_NOSUID | kernel.MS_NODEV, options)
  _show(links, covered)
  for tree, path in trees:
    kernel.attach(tree, path)
  if proc >= 0:
    kernel.attach(proc, '/proc')
    os.close(proc)
  os.chdir(SCRATCH)
  return proc >= 0
