"""Every exception of an address as an answer in the shape of the client library that asked."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from mlsd_jax.errors import UserError
from mlsd_jax.serving.errors import ApiError, describe_invalid
from mlsd_jax.serving.metrics import Metrics


def handle_errors(app: FastAPI, metrics: Metrics) -> None:
  def tell(request: Request, error: ApiError) -> Response:
    if error.status in (401, 413, 429, 504):
      metrics.refused.labels(str(error.status)).inc()
    return JSONResponse(error.body(request.url.path), error.status, headers=error.headers())

  @app.exception_handler(ApiError)
  async def api_error(request: Request, error: ApiError) -> Response:
    return tell(request, error)

  @app.exception_handler(UserError)
  async def user_error(request: Request, error: UserError) -> Response:
    return tell(request, ApiError(400, str(error)))

  @app.exception_handler(RequestValidationError)
  async def invalid(request: Request, error: RequestValidationError) -> Response:
    message, field = describe_invalid(error.errors(), error.body)
    status = 422 if request.url.path in ('/embed', '/rerank') else 400
    return tell(request, ApiError(status, message, param=field))

  @app.exception_handler(HTTPException)
  async def http(request: Request, error: HTTPException) -> Response:
    if isinstance(error.__cause__, ApiError):  # of a body, while it was read
      return tell(request, error.__cause__)
    return tell(request, ApiError(error.status_code, f'{request.method} {request.url.path[:200]}: {error.detail}'))

  @app.exception_handler(Exception)
  async def unknown(request: Request, _: Exception) -> Response:
    return tell(request, ApiError(500, 'the server failed; its log says why'))
