"""Runs a command as an ordinary user, for who is root: python as_user.py [--no-namespaces] COMMAND ...

The interpreter may lie in a home folder that is closed to others: in a mount namespace of the command's own, where root
may make one, closed folders on the way to it are replaced by open ones that hold only what is needed.
--no-namespaces: with a filter like Docker's, which refuses unshare(2), setns(2), mount(2) and new namespaces.
"""

import errno
import os
import sys

from mlsd_jax.algorithms.cage import kernel, seccomp

USER = 60123
NEEDED = [os.path.realpath(sys.base_prefix), os.path.abspath(sys.prefix), os.getcwd()]
NAMESPACE_CALLS = ('unshare', 'setns', 'mount', 'umount2', 'pivot_root', 'move_mount', 'open_tree', 'fsopen')


def open_the_way():
  """Makes NEEDED reachable for everybody, in a mount namespace of our own."""
  closed = {}
  for path in NEEDED:
    above = path
    while above != '/':
      above = os.path.dirname(above)
      if not os.stat(above).st_mode & 1:
        closed.setdefault(above, []).append(path)
  if not closed:
    return
  os.unshare(kernel.CLONE_NEWNS)
  kernel.mount(None, '/', None, kernel.MS_REC | kernel.MS_SLAVE)
  for folder in sorted(closed, key=len)[:1]:
    trees = [(path, kernel.detached(path, writable=True)) for path in NEEDED if path.startswith(folder + '/')]
    kernel.mount('tmpfs', folder, 'tmpfs', 0, 'mode=755')
    for path, tree in trees:
      os.makedirs(path, exist_ok=True)
      kernel.attach(tree, path)


def refuse_namespaces():
  code = seccomp._Code()
  code.add(seccomp._LOAD, 0)
  for name in NAMESPACE_CALLS:
    body = seccomp._Code()
    body.error(errno.EPERM)
    code.on(seccomp._REFUSED[name], body)
  body = seccomp._Code()
  body.error(errno.ENOSYS)
  code.on(seccomp._ABSENT['clone3'], body)
  body = seccomp._Code()
  body.load_argument(0)
  body.add(seccomp._ANY_BIT, seccomp.NEW_NAMESPACES, 0, 1)
  body.error(errno.EPERM)
  body.add(seccomp._RETURN, seccomp._ALLOW)
  code.on(seccomp._CLONE, body)
  code.add(seccomp._RETURN, seccomp._ALLOW)
  kernel.prctl(kernel.NO_NEW_PRIVS, 1)
  seccomp.install(code.bytes)


def main():
  command = sys.argv[1:]
  stay_root = '--root' in command
  denied = '--no-namespaces' in command
  command = [word for word in command if word not in ('--root', '--no-namespaces')]
  if not stay_root and os.geteuid() == 0:
    open_the_way()
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
  if denied:
    refuse_namespaces()
  os.execvp(command[0], command)


if __name__ == '__main__':
  main()
