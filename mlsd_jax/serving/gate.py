"""What stands before every address: who asks, how long the body is; and behind it: how it went."""

import asyncio
import contextlib
import time

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.limits import Door, Limits
from mlsd_jax.serving.metrics import Metrics
from mlsd_jax.serving.web_page import PAGE_PATHS

# For probes, which have no key, and for the page, which asks for one; the schema says nothing of what is served.
_OPEN = frozenset(('/health', '/ready', '/metrics', '/openapi.json', '/docs')) | PAGE_PATHS
_LINGER_SECONDS = 10.0  # that a body which is too long is read on, and thrown away


class Gate:
  """Before everything: who asks, how long the body is; behind everything: how it went.

  Plain ASGI, so that who answers sees a client go away.
  """

  def __init__(self, app: ASGIApp, door: Door, limits: Limits, metrics: Metrics):
    self._app, self._door, self._limits, self._metrics = app, door, limits, metrics

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    if scope['type'] != 'http':
      return await self._app(scope, receive, send)
    path, began, status = scope['path'], time.perf_counter(), 500
    headers = {name.decode('latin-1').lower(): value.decode('latin-1') for name, value in scope['headers']}
    length = 0

    async def counted() -> Message:
      nonlocal length
      message = await receive()
      length += len(message.get('body', b''))
      if length > self._limits.max_body_bytes:
        await _read_out(message, receive)
        raise self._door.too_long()
      return message

    async def noted(message: Message) -> None:
      nonlocal status
      if message['type'] == 'http.response.start':
        status = message['status']
      await send(message)

    try:
      try:
        address = (scope.get('client') or ('', 0))[0]
        scope['client_name'] = address if path in _OPEN else self._door.check(headers, address)
        await self._app(scope, counted, noted)
      except ApiError as error:
        if (
          error.status == 413 and not length and 'expect' not in headers
        ):  # refused by the length that its header tells
          await _read_out({'more_body': True}, receive)
        self._metrics.refused.labels(str(error.status)).inc()
        await JSONResponse(error.body(path), error.status, headers=error.headers())(scope, receive, noted)
    finally:
      known = getattr(scope.get('route'), 'path', 'other')  # /v1/models/{name}, not each name
      self._metrics.requests.labels(known, str(status)).inc()
      self._metrics.latency.labels(known).observe(time.perf_counter() - began)


async def _read_out(message: Message, receive: Receive) -> None:
  """Lets a client send what is refused, and throws it away: one that is cut off while it sends never sees the answer.

  For a bounded time, as nginx's lingering close has it: what sends on for ever is cut off.
  """
  with contextlib.suppress(TimeoutError):
    async with asyncio.timeout(_LINGER_SECONDS):
      while message.get('more_body'):
        message = await receive()
