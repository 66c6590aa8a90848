"""An ASGI app behind a socket, until the process is stopped."""

import socket
from typing import Any

from experiments import contract
from mlsd_jax.errors import UserError


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

  Args:
    port: 0 takes a free one.
    what: said behind the address.

  Raises:
    UserError: nobody can listen there.
  """
  import uvicorn

  listener = socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET)
  listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
  try:
    listener.bind((host, port))
  except (OSError, UnicodeError) as error:
    listener.close()
    why = error.strerror if isinstance(error, OSError) else 'no such host'
    raise UserError(f'config.host={host!r} and config.port={port} cannot be listened at: {why}') from error
  server = uvicorn.Server(uvicorn.Config(app, log_level='warning', timeout_graceful_shutdown=round(drain_seconds)))
  run.print(f'http://{host}:{listener.getsockname()[1]} {what}')
  server.run(sockets=[listener])
