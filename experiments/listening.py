"""An ASGI app behind a socket, until the process is stopped."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from experiments import contract, process
from mlsd_jax.errors import UserError


@contextlib.contextmanager
def ends_at_once() -> Iterator[None]:
  """Within it SIGTERM ends the process at once, with exit code 0: nothing is under way before a server listens.

  It has a handler of its own for containers, whose process 1 passes over signals that it has none for.
  """
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = signal.signal(signal.SIGTERM, lambda *_: _leave())
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, before)


def _leave() -> None:
  with contextlib.suppress(RuntimeError, OSError):  # it was in the middle of printing, or nobody reads
    sys.stdout.flush()
  os._exit(0)


@ends_at_once()
def listen(
  run: contract.Run,
  host: str,
  port: int,
  app: Any,
  *,
  drain_seconds: float = 10.0,
  what: str = 'answers; /docs says what',
) -> None:
  """Answers at HOST:PORT; SIGTERM and Ctrl-C let answers under way be finished.

  Returns after SIGTERM, so that the exit code is 0: it is how Kubernetes, systemd and Docker stop what is well, and
  another code is shown as a failure there. Before models are compiled nothing is under way, and either ends it at once.

  Args:
    port: 0 takes a free one.
    what: said behind the address.

  Raises:
    UserError: nobody can listen there.
  """
  import uvicorn

  from mlsd_jax.serving.memory import freeze_loaded

  listener = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    listener.bind((host, port))
  except (OSError, UnicodeError) as error:
    listener.close()
    why = error.strerror if isinstance(error, OSError) else 'no such host'
    raise UserError(f'config.host={host!r} and config.port={port} cannot be listened at: {why}') from error

  class Server(uvicorn.Server):
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
      if interrupt is not None:
        signal.signal(signal.SIGINT, interrupt)
      await super().serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
      await super().startup(sockets)
      if interrupt is not None:  # the process is this server's alone
        freeze_loaded()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
      """uvicorn's own raises the signal again once it has drained: right for Ctrl-C, which is code 130."""
      if not self.started:  # which uvicorn would wait for
        _leave() if sig == signal.SIGTERM else process.leave()
      elif sig == signal.SIGTERM:
        self.should_exit = True
      else:
        super().handle_exit(sig, frame)

  interrupt = None
  if threading.current_thread() is threading.main_thread():
    # Until the event loop runs nothing is under way, and an exception would fall into its beginning.
    interrupt = signal.signal(signal.SIGINT, lambda *_: process.leave())
  server = Server(uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=round(drain_seconds)))
  run.print(f'http://{host}:{listener.getsockname()[1]} {what}')
  server.run(sockets=[listener])
