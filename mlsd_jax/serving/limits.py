"""Who may ask, how much and how often."""

import dataclasses
import hmac
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from mlsd_jax.serving.errors import ApiError

_CLIENTS = 10_000  # of which the rate is remembered; the one longest unseen is forgotten


@dataclasses.dataclass(frozen=True)
class Limits:
  """What a server takes on.

  Attributes:
    api_keys: one of them must come with each request (Authorization: Bearer, or X-API-Key); empty asks for none.
    max_body_bytes: of a request.
    requests_per_minute: of a client (its key, else its address); 0 for no bound.
    max_waiting: requests of a model that wait for their turn; more are refused with 429.
    deadline_seconds: within which an answer that is not streamed is whole, or the request is given up.
    cors_origins: web pages of other sites that may ask; none by default.
  """

  api_keys: tuple[str, ...] = ()
  max_body_bytes: int = 4 * 2**20
  requests_per_minute: int = 0
  max_waiting: int = 256
  deadline_seconds: float = 300.0
  cors_origins: tuple[str, ...] = ()


class Door:
  """Checks each request before anything of it is read."""

  def __init__(self, limits: Limits, now: Callable[[], float] = time.monotonic):
    self._limits, self._now = limits, now
    self._allowances: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> (requests left, when)

  def check(self, headers: Mapping[str, str], address: str) -> str:
    """The client's name, for fairness.

    Raises:
      ApiError: no key or a wrong one (401), a body that is too long (413), too many requests (429).
    """
    client = address
    if self._limits.api_keys:
      given = headers.get('authorization', '').removeprefix('Bearer ').strip() or headers.get('x-api-key', '')
      # In constant time: how long a comparison takes must not say how much of a key was right.
      matches = [hmac.compare_digest(given.encode(), key.encode()) for key in self._limits.api_keys]
      if not any(matches):
        raise ApiError(401, 'the API key is missing or wrong', code='invalid_api_key')
      client = f'key {matches.index(True)}'
    self._count(client)
    length = headers.get('content-length', '')
    if length.isdecimal() and int(length[:20]) > self._limits.max_body_bytes:
      raise self.too_long()
    return client

  def too_long(self) -> ApiError:
    return ApiError(413, f'a request may have {self._limits.max_body_bytes:,} bytes', code='request_too_large')

  def _count(self, client: str) -> None:
    """A bucket of a minute's requests that fills up evenly."""
    rate = self._limits.requests_per_minute
    if not rate:
      return
    now = self._now()
    left, when = self._allowances.pop(client, (float(rate), now))
    left = min(rate, left + (now - when) * rate / 60)
    self._allowances[client] = (left - (left >= 1), now)
    while len(self._allowances) > _CLIENTS:
      self._allowances.popitem(last=False)
    if left < 1:
      wait = math.ceil((1 - left) * 60 / rate)
      raise ApiError(429, f'at most {rate} requests a minute', code='rate_limit_exceeded', retry_after=wait)
