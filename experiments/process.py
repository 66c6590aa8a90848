"""A run as a process: Ctrl-C is one line and exit code 130 at any moment, and standard output is one that can be used.

It imports nothing but the standard library's quick parts, as it runs before all else.
"""

import codecs
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_HUGE_PAGES = 'glibc.malloc.hugetlb'
_PRODUCTS = 'OPENBLAS_NUM_THREADS'
_TRAINS = ('experiments.gpt2', 'experiments.mingpt', 'experiments.encoder')  # steps of large temporaries
INTERRUPTED = 130  # as a shell says it of a program that SIGINT ended

_begun = False
_asked = 0


def begin() -> None:
  """To be called once, before anything is imported: from here on Ctrl-C leaves at once."""
  global _begun
  _begun = True
  for descriptor in (0, 1, 2):  # a file opened later must not take the number of a closed stream
    try:
      os.fstat(descriptor)
    except OSError:
      os.open(os.devnull, os.O_RDWR)
  codecs.register_error('shown_escaped', _escape)
  for stream in (sys.stdout, sys.stderr):
    if stream is not None:
      stream.reconfigure(errors='shown_escaped')  # type: ignore[union-attr]
  signal.signal(signal.SIGINT, lambda *_: leave())


def use_huge_pages() -> None:
  """Starts this process anew with memory in huge pages, if it trains and Linux gives them to those that ask (madvise).

  A training step takes its gigabytes of temporaries from the system and gives them back: touched first in pages of
  4 KiB, they can take as long as what is computed in them. The C library asks only where the environment says so when
  the process starts. GLIBC_TUNABLES=glibc.malloc.hugetlb=0 leaves it as it is.
  """
  given = os.environ.get('GLIBC_TUNABLES', '')
  if sys.orig_argv[1:3] not in [['-m', name] for name in _TRAINS] or _HUGE_PAGES in given:
    return
  try:
    with open('/sys/kernel/mm/transparent_hugepage/enabled') as file:
      asked_for = '[madvise]' in file.read()
  except OSError:
    return
  if asked_for and sys.executable:
    os.environ['GLIBC_TUNABLES'] = ':'.join(filter(None, [given, f'{_HUGE_PAGES}=1']))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def keep_products_in_their_thread() -> None:
  """Lets numpy make each matrix product in the thread that asks for it, where requests are answered side by side.

  OpenBLAS's other threads wait by spinning, which for the small products of a request takes longer than the products
  do. What the environment says already stays.
  """
  trains = {'mode=prepare', 'prepare'} & {argument.lstrip('-') for argument in sys.orig_argv[3:]}
  if sys.orig_argv[1:3] == ['-m', 'experiments.serve'] and not trains:
    os.environ.setdefault(_PRODUCTS, '1')  # OpenBLAS reads it when it is loaded


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
  """Within it Ctrl-C raises KeyboardInterrupt, even if one was lost in a callback; the second one leaves at once."""
  if not _begun:
    yield
    return
  hook, sys.unraisablehook = sys.unraisablehook, _raise_again
  signal.signal(signal.SIGINT, _interrupt)
  answer_at_once()
  try:
    yield
  finally:
    sys.unraisablehook = hook
    signal.signal(signal.SIGINT, lambda *_: leave())


def answer_at_once() -> None:
  """Lets Ctrl-C end a call that waits, as for a line of input: Polars' handler, set on import, has it go on."""
  signal.siginterrupt(signal.SIGINT, True)


def was_interrupted() -> bool:
  """Whether Ctrl-C was pressed: whatever was raised since is a consequence of that."""
  return _asked > 0


def check() -> None:
  """Raises KeyboardInterrupt if Ctrl-C was pressed and something swallowed it."""
  if _asked:
    raise KeyboardInterrupt


def refused_output() -> str:
  """'standard output cannot be written' where it is so, which one more line shows; else ''."""
  try:
    os.write(1, b'\n')
  except OSError:
    discard_output()
    return 'standard output cannot be written'
  return ''


def discard_output() -> None:
  """Lets what is still to be written to a standard output that takes nothing go nowhere, instead of failing at exit."""
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(number: int, frame: FrameType | None) -> None:
  global _asked
  _asked += 1
  if _asked > 1:
    leave()
  raise KeyboardInterrupt


def _raise_again(unraisable: Any) -> None:
  """An exception in a callback of the garbage collector (JAX has one) or in a finaliser goes nowhere."""
  global _asked
  if unraisable.exc_type is not KeyboardInterrupt:
    return sys.__unraisablehook__(unraisable)
  _asked = 0
  main = threading.main_thread().ident
  timer = threading.Timer(0.05, lambda: signal.pthread_kill(main or 0, signal.SIGINT))
  timer.daemon = True
  return timer.start()


def leave() -> None:
  """Ends the process at once, as Ctrl-C does."""
  with contextlib.suppress(OSError):
    os.write(2, b'interrupted\n')
  os._exit(INTERRUPTED)


_said: set[str] = set()


def _escape(error: UnicodeError) -> tuple[str, int]:
  """What a terminal's encoding does not have is shown as an escape, which a line on standard error says once."""
  assert isinstance(error, UnicodeEncodeError)
  if error.encoding not in _said and not error.encoding.lower().startswith('utf'):
    _said.add(error.encoding)
    with contextlib.suppress(OSError):
      line = (
        f'output is {error.encoding}: other characters are shown as \\u escapes; PYTHONIOENCODING=utf-8 shows them\n'
      )
      os.write(2, line.encode())
  return codecs.backslashreplace_errors(error)  # type: ignore[return-value]
