"""JSON bodies as they are read: an object that has a key twice says two things, and is refused."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from mlsd_jax import reading
from mlsd_jax.serving.errors import ApiError


def refuse_repeated_keys(app: FastAPI) -> None:
  """Makes the routes that are added to `app` from now on read bodies so; each answers in its own shape of an error."""
  app.router.route_class = _Route


class _Request(Request):
  async def json(self) -> Any:
    if not hasattr(self, '_json'):
      try:
        self._json = json.loads(await self.body(), object_pairs_hook=reading.unique_keys)
      except reading.RepeatedKeyError as error:
        refusal = ApiError(400, f'the key {error.key[:100]!r} is there twice', param=error.key[:100])
        raise HTTPException(400) from refusal  # which FastAPI lets pass, as it does nothing else while it reads a body
    return self._json


class _Route(APIRoute):
  def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    handle = super().get_route_handler()

    async def read(request: Request) -> Response:
      return await handle(_Request(request.scope, request.receive))

    return read
