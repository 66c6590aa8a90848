"""What an answer says when there is none: one error, told in the shape of the client library that asked."""

from typing import Any

# HTTP status -> OpenAI's `type`, by which its client picks an exception.
_TYPES = {401: 'authentication_error', 404: 'not_found_error', 429: 'rate_limit_error'}


class ApiError(Exception):
  """A request that is refused.

  Attributes:
    status: of HTTP.
    message: one line for whoever sent the request; never a path or a traceback.
    param: the field that is to blame.
    code: a word for programs.
    retry_after: seconds after which the same request may be served; None if it never will.
  """

  def __init__(
    self,
    status: int,
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    retry_after: int | None = None,
  ):
    super().__init__(message)
    self.status, self.message, self.param, self.code, self.retry_after = status, message, param, code, retry_after

  def headers(self) -> dict[str, str]:
    return {} if self.retry_after is None else {'Retry-After': str(self.retry_after)}

  def body(self, path: str) -> dict[str, Any]:
    """As the client of `path` reads it: OpenAI's for most, Cohere's and Text Embeddings Inference's for theirs."""
    if path in ('/v1/rerank', '/v2/rerank'):
      return {'message': self.message}
    if path in ('/embed', '/rerank', '/info'):
      return {'error': self.message, 'error_type': 'Overloaded' if self.status == 429 else 'Validation'}
    kind = _TYPES.get(self.status, 'server_error' if self.status >= 500 else 'invalid_request_error')
    return {'error': {'message': self.message, 'type': kind, 'param': self.param, 'code': self.code}}


def too_busy(what: str, retry_after: int = 1) -> ApiError:
  return ApiError(429, f'{what} is busy; try again', code='overloaded', retry_after=retry_after)
