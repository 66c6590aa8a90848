"""An index over many machines: searchers own shards, a root asks them all and merges, by plain HTTP.

    client ── POST /v1/search ──> root ── POST /shard/search ──> searcher of shards 0, 1 (and its replicas)
                                      └─ POST /shard/search ──> searcher of shards 2, 3

Every vector lies in one shard, and the best k of all are among the best k of each: merged, they are what one index
over all vectors finds. A group of shards that does not answer within the deadline is named in the answer
(`shards_failed`), which has what the others found.
"""

import asyncio
import base64
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import Field

import mlsd_jax
from mlsd_jax.ann import Index
from mlsd_jax.ann.index_parts import INDEX
from mlsd_jax.errors import UserError
from mlsd_jax.executor import Parts
from mlsd_jax.schema import Positive, above
from mlsd_jax.serving.bodies import refuse_repeated_keys
from mlsd_jax.serving.error_answers import handle_errors
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.metrics import Metrics
from mlsd_jax.serving.requests import Body, Text

ROWS = 'rows.arrow'  # what retrieval's shards have beside their index
MAX_K, MAX_QUERIES = 1000, 64

K = Annotated[int, Field(ge=1, le=MAX_K)]


class ShardRequest(Body):
  """POST /shard/search: of the root to a searcher."""

  vectors: Text  # float32 [Q, D], little-endian, in base64
  k: K
  exact: bool = False


class RootRequest(Body):
  """POST /v1/search: a text, or a vector of the space that the shards are of."""

  query: Annotated[str, Field(max_length=10_000)] | None = None
  vector: Annotated[list[float], Field(max_length=65_536)] | None = None
  k: K = 10
  exact: bool = False


@dataclasses.dataclass(frozen=True)
class RootConfig:
  """How a root waits for its searchers."""

  deadline_seconds: Annotated[float, above(0)] = 1.0  # within which it answers, with what has come by then
  hedge_seconds: Annotated[float, above(0)] = 0.25  # after which another replica is asked as well
  rest_seconds: Annotated[float, above(0)] = 2.0  # that a replica is asked last for, after it failed
  most_waiting: Positive = 256  # requests at once; more are refused


class Shards:
  """The shards that one searcher owns."""

  def __init__(self, opened: Sequence[tuple[str, Index, Any]]):
    """Takes (name, index, rows); rows is a table of id, page, title and text, or None."""
    if not opened:
      raise UserError('a searcher owns at least one shard')
    dims = {index.dim for _, index, _ in opened}
    if len(dims) > 1:
      raise UserError(f'the shards have vectors of {" and ".join(map(str, sorted(dims)))} dimensions')
    self.names, self.dim = [name for name, _, _ in opened], dims.pop()
    self._opened = opened
    self._rows = [None if table is None else np.asarray(table['id']) for _, _, table in opened]
    self._order = [None if ids is None else np.argsort(ids) for ids in self._rows]

  @classmethod
  def open(cls, parts: Parts, names: Sequence[str]) -> 'Shards':
    """Shards of what `build_shards` or `build_parts` made, every file as it was written.

    Raises:
      UserError: no shard of that name, a damaged one, or one without an index.
    """
    import pyarrow.feather

    opened = []
    for name in names:
      if name not in parts.seals:
        raise UserError(f'{parts.path} has no shard {name!r}; there are {", ".join(list(parts.seals)[:8])}, ...')
      folder = parts.folder(name)
      index = Index.open(folder / INDEX, verify=False)  # `folder` has
      index.load()
      table = pyarrow.feather.read_table(str(folder / ROWS)) if (folder / ROWS).exists() else None
      opened.append((name, index, table))
    return cls(opened)

  def __len__(self) -> int:
    return sum(len(index) for _, index, _ in self._opened)

  def search(self, vectors: np.ndarray, k: int, *, exact: bool = False) -> list[list[dict[str, Any]]]:
    """Of each query the best k of all shards here: {'id', 'score'}; where there are rows, also page, title, text."""
    found: list[list[tuple[float, int, int]]] = [[] for _ in vectors]
    for number, (_, index, _) in enumerate(self._opened):
      if len(index):
        near = index.search(vectors, k, exact=exact, parallel=False)
        for query, (ids, scores) in enumerate(zip(near.ids, near.scores, strict=True)):
          found[query] += [(-float(score), int(id_), number) for id_, score in zip(ids, scores, strict=True)]
    return [[self._hit(*each) for each in sorted(hits)[:k]] for hits in found]

  def _hit(self, negative: float, id_: int, number: int) -> dict[str, Any]:
    hit: dict[str, Any] = {'id': id_, 'score': -negative}
    ids, order = self._rows[number], self._order[number]
    if ids is not None and order is not None:
      row = int(order[np.searchsorted(ids, id_, sorter=order)])
      table = self._opened[number][2]
      hit |= {name: table[name][row].as_py() for name in ('page', 'title', 'text')}
    return hit


def create_searcher(shards: Shards) -> FastAPI:
  """An ASGI app over shards: POST /shard/search, GET /shard (what it owns), /health and /ready."""
  app = FastAPI(title='mlsd_jax searcher', version=mlsd_jax.__version__)
  handle_errors(app, Metrics())
  refuse_repeated_keys(app)

  @app.post('/shard/search')
  async def search(body: ShardRequest) -> dict[str, Any]:
    """The best k of the shards here."""
    vectors = _decode(body.vectors, shards.dim)
    hits = await asyncio.to_thread(shards.search, vectors, body.k, exact=body.exact)
    return {'hits': hits}

  @app.get('/shard')
  async def show() -> dict[str, Any]:
    return {'shards': shards.names, 'vectors': len(shards), 'dim': shards.dim}

  _add_probes(app)
  return app


def create_root(
  groups: Sequence[Sequence[str]],
  config: RootConfig | None = None,
  *,
  embed: Callable[[str], Awaitable[np.ndarray]] | None = None,
) -> FastAPI:
  """An ASGI app that asks searchers and merges what they find.

  Args:
    groups: for each group of shards the addresses of its replicas, http://HOST:PORT.
    embed: the vector [D] of a query; None takes vectors only.
  """
  import httpx

  config = config or RootConfig()
  if not groups or not all(groups):
    raise UserError('a root needs the address of at least one searcher of each group of shards')
  clients: list[httpx.AsyncClient] = []
  parts: list[_Group] = []
  running = 0

  @contextlib.asynccontextmanager
  async def life(_: FastAPI) -> AsyncIterator[None]:
    # A searcher that has stopped takes connections all the same: no limit of connections, only of time.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    client = httpx.AsyncClient(timeout=config.deadline_seconds, limits=limits, trust_env=False)
    clients.append(client)
    parts.extend(_Group(addresses, config, client) for addresses in groups)
    yield
    await client.aclose()

  app = FastAPI(title='mlsd_jax root of sharded search', version=mlsd_jax.__version__, lifespan=life)
  handle_errors(app, Metrics())
  refuse_repeated_keys(app)

  @app.post('/v1/search')
  async def search(body: RootRequest) -> dict[str, Any]:
    """The best k of all shards, and the groups of shards that did not answer in time."""
    nonlocal running
    if running >= config.most_waiting:
      raise ApiError(429, 'too many requests wait', code='overloaded', retry_after=1)
    running += 1
    try:
      return await answer(body)
    finally:
      running -= 1

  async def answer(body: RootRequest) -> dict[str, Any]:
    deadline = time.monotonic() + config.deadline_seconds
    vector = await _vector_of(body, embed)
    content = {'vectors': encode(vector[None]), 'k': body.k, 'exact': body.exact}
    tasks = [asyncio.ensure_future(group.ask(content, deadline)) for group in parts]
    await asyncio.wait(tasks, timeout=max(deadline - time.monotonic(), 0))
    hits: list[dict[str, Any]] = []
    failed: list[int] = []
    refused: ApiError | None = None
    for number, task in enumerate(tasks):
      if not task.done():
        task.cancel()
        parts[number].rest_all()
        failed.append(number)
      elif isinstance(error := task.exception(), ApiError):
        refused = error
      elif error is not None:
        failed.append(number)
      else:
        hits += task.result()
    if refused is not None:  # what one searcher refuses (a vector of another width), no searcher takes
      raise refused
    if len(failed) == len(parts):
      raise ApiError(503, 'no searcher answered in time', code='no_shard', retry_after=1)
    hits.sort(key=lambda hit: (-hit['score'], hit['id']))
    return {'hits': hits[: body.k], 'shards': len(parts), 'shards_failed': failed}

  _add_probes(app)
  return app


class _Group:
  """The replicas of one group of shards."""

  def __init__(self, addresses: Sequence[str], config: RootConfig, client: Any):
    self._addresses, self._config, self._client = [each.rstrip('/') for each in addresses], config, client
    self._resting: dict[str, float] = {}  # address -> until when
    self._turn = 0

  def rest_all(self) -> None:
    """After a deadline that no replica met."""
    for address in self._addresses:
      self._resting[address] = time.monotonic() + self._config.rest_seconds

  async def ask(self, content: Mapping[str, Any], deadline: float) -> list[dict[str, Any]]:
    """The hits of the first replica that answers; the next is asked when one fails, or after `hedge_seconds`.

    A group all of whose replicas rest is asked by one request at a time: the others need not wait for it.
    """
    now = time.monotonic()
    self._turn += 1
    turned = self._addresses[self._turn % len(self._addresses) :] + self._addresses[: self._turn % len(self._addresses)]
    ready = [address for address in turned if self._resting.get(address, 0) <= now]
    if not ready:
      raise TimeoutError
    for address in ready:  # until it has answered, others find it resting if it has failed before
      if address in self._resting:
        self._resting[address] = now + self._config.rest_seconds
    waiting: dict[asyncio.Future[list[dict[str, Any]]], str] = {}
    try:
      while ready or waiting:
        if ready:
          address = ready.pop(0)
          waiting[asyncio.ensure_future(self._post(address, content))] = address
        left = deadline - time.monotonic()
        done, _ = await asyncio.wait(
          waiting, timeout=min(self._config.hedge_seconds, left) if ready else left, return_when=asyncio.FIRST_COMPLETED
        )
        for task in done:
          address = waiting.pop(task)
          error = task.exception()
          if error is None:
            self._resting.pop(address, None)
            for other in waiting.values():  # which was asked before, and has not answered yet
              self._resting[other] = time.monotonic() + self._config.rest_seconds
            return task.result()
          if isinstance(error, ApiError):
            raise error
          self._resting[address] = time.monotonic() + self._config.rest_seconds
        if deadline <= time.monotonic():
          break
      for address in waiting.values():
        self._resting[address] = time.monotonic() + self._config.rest_seconds
      raise TimeoutError
    finally:
      for task in waiting:
        task.cancel()

  async def _post(self, address: str, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    response = await self._client.post(f'{address}/shard/search', json=content)
    if 400 <= response.status_code < 500:
      raise ApiError(response.status_code, response.json().get('error', {}).get('message', 'refused by a searcher'))
    response.raise_for_status()
    return response.json()['hits'][0]


async def _vector_of(body: RootRequest, embed: Callable[[str], Awaitable[np.ndarray]] | None) -> np.ndarray:
  if (body.query is None) == (body.vector is None):
    raise ApiError(400, 'give a query or a vector, and not both', param='query')
  if body.vector is not None:
    vector = np.array(body.vector, np.float32)
    if not len(vector) or not np.isfinite(vector).all():
      raise ApiError(400, 'a vector has at least one number, and all of them are finite', param='vector')
    return vector
  if embed is None:
    raise ApiError(400, 'this root has no encoder: give a vector', param='query')
  if not (body.query or '').strip():
    raise ApiError(400, 'the query is empty', param='query')
  return np.asarray(await embed(body.query or ''), np.float32)


def encode(vectors: np.ndarray) -> str:
  """float32 [Q, D] as a searcher takes it: to the bit, and a tenth of what decimals would be."""
  return base64.b64encode(np.ascontiguousarray(vectors, '<f4').tobytes()).decode()


def _decode(text: str, dim: int) -> np.ndarray:
  try:
    content = base64.b64decode(text, validate=True)
  except ValueError as error:
    raise ApiError(400, 'vectors are no base64', param='vectors') from error
  if not content or len(content) % (4 * dim):
    raise ApiError(400, f'vectors have {dim} dimensions here, 4 bytes each; {len(content)} bytes came', param='vectors')
  vectors = np.frombuffer(content, '<f4').reshape(-1, dim)
  if len(vectors) > MAX_QUERIES:
    raise ApiError(400, f'at most {MAX_QUERIES} vectors at once', param='vectors')
  return vectors


def _add_probes(app: FastAPI) -> None:
  @app.get('/health')
  async def health() -> dict[str, str]:
    return {'status': 'ok'}

  @app.get('/ready')
  async def ready() -> Response:
    return JSONResponse({'ready': True})


def own_of(names: Sequence[str], group: int, groups: int) -> list[str]:
  """The shards of a group, of `groups` that share them in turn.

  Raises:
    UserError: there is no such group, or fewer shards than groups.
  """
  if not 0 <= group < groups:
    raise UserError(f'group={group} is not from 0 to {groups - 1}')
  if groups > len(names):
    raise UserError(f'{groups} groups cannot share {len(names)} shards')
  return list(names[group::groups])
