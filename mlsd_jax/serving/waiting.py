"""Answers that nobody waits for any more are not computed."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from mlsd_jax.serving.errors import ApiError


async def answer_while_there[T](request: Request, work: Coroutine[Any, Any, T], seconds: float) -> T:
  """What `work` gives; it is cancelled if the client goes away before, or after so many seconds.

  Raises:
    ApiError: out of time (504), or the client is gone (499, which nobody reads).
  """
  task = asyncio.ensure_future(work)
  gone = asyncio.ensure_future(_disconnected(request))
  try:
    await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
      return task.result()
    if gone.done():
      raise ApiError(499, 'the client is gone')
    raise ApiError(504, f'no answer within {seconds:g} s', code='timeout', retry_after=1)
  finally:
    for each in (task, gone):
      each.cancel()
    await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
  while (await request.receive())['type'] != 'http.disconnect':
    pass
