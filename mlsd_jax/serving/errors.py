"""What an answer says when there is none: one error, told in the shape of the client library that asked."""

from collections.abc import Sequence
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


def describe_invalid(errors: Sequence[Any], body: Any) -> tuple[str, str | None]:
  """What is wrong with a request, in a line, and the field that is to blame.

  Where a field may be of several kinds there is an error for each, whose place names the kind too; told is what the
  kinds say that fit the furthest.

  Args:
    errors: pydantic's: 'loc' with the names and indices on the way, 'msg'.
    body: what was sent.
  """
  placed = [(_place([part for part in error['loc'] if part != 'body'], body), error['msg']) for error in errors]
  field = placed[0][0][:1]
  same = [(place, message) for place, message in placed if place[:1] == field]
  deepest = max(len(place) for place, _ in same)
  messages = list(dict.fromkeys(message for place, message in same if len(place) == deepest))
  place = next(place for place, _ in same if len(place) == deepest)
  message = '; or '.join(messages)
  return f'{".".join(place)[:200]}: {message}' if place else message, place[0] if place else None


def _place(parts: Sequence[Any], body: Any) -> list[str]:
  """Of the parts those that lead into the body, or name what is missing there; others are names of types."""
  place: list[str] = []
  for position, part in enumerate(parts):
    inside = isinstance(body, dict) and part in body
    inside |= isinstance(body, list) and isinstance(part, int) and part < len(body)
    if inside:
      body = body[part]
    elif not (isinstance(body, dict) and position == len(parts) - 1) and place:
      continue
    place.append(str(part))
  return place
