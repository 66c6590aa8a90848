"""The server: what answers at which address. Every address is in /docs, from the schema that FastAPI makes."""

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import mlsd_jax
from mlsd_jax.errors import UserError
from mlsd_jax.serving import chat, completions, embeddings
from mlsd_jax.serving.answers import AnswerLog
from mlsd_jax.serving.errors import ApiError, describe_invalid
from mlsd_jax.serving.estimating import list_hardware, show_estimate
from mlsd_jax.serving.limits import Door, Limits
from mlsd_jax.serving.metrics import Metrics
from mlsd_jax.serving.name_service import NameService
from mlsd_jax.serving.recommend_service import RecommendService
from mlsd_jax.serving.replacement import KINDS, Replacement, Source
from mlsd_jax.serving.requests import (
  ChatRequest,
  CompletionRequest,
  DetokenizeRequest,
  EmbeddingRequest,
  EstimateRequest,
  EventsRequest,
  ExpressionRequest,
  ItemsRequest,
  NamesRequest,
  RecommendRequest,
  RerankRequest,
  RollbackRequest,
  SearchRequest,
  TeiEmbedRequest,
  TeiRerankRequest,
  TokenizeRequest,
)
from mlsd_jax.serving.search_service import SearchService
from mlsd_jax.serving.shop import Shop
from mlsd_jax.serving.small_systems import name_words, show_graph
from mlsd_jax.serving.text_service import TextService, token_text
from mlsd_jax.serving.vector_service import VectorService
from mlsd_jax.serving.waiting import answer_while_there
from mlsd_jax.serving.web_page import PAGE_PATHS, add_page
from mlsd_jax.tokenizers import Tokenizer

# For probes, which have no key, and for the page, which asks for one.
_OPEN = frozenset(('/health', '/ready', '/metrics')) | PAGE_PATHS
_FACTS: dict[str, Callable[[Any], dict[str, Any]]] = {  # what is told of each service, beside its name
  'texts': lambda each: {'context_length': each.max_length},
  'vectors': lambda each: {'dimensions': each.encoder.dim},
  'searches': lambda each: {'pages': len(each.searcher.store.page_ids), 'chunks': each.searcher.store.num_chunks},
  'recommenders': lambda each: {'users': len(each.view.users), 'items': len(each.view.items)},
  'names': lambda each: {'rungs': list(each.models)},
  'tokenizers': lambda each: {'vocab_size': each.vocab_size},
}
_LINGER_SECONDS = 10.0  # that a body which is too long is read on, and thrown away


@dataclasses.dataclass(frozen=True)
class Services:
  """What is served, by the names that requests use; the first of a kind answers those that name none.

  Attributes:
    shops: logs of recommenders, which outlive their builds.
    sources: where newer versions of what is served come from.
    commands: by the field's name, the command that makes what is not served; the page shows it.
  """

  texts: dict[str, TextService] = dataclasses.field(default_factory=dict)
  vectors: dict[str, VectorService] = dataclasses.field(default_factory=dict)
  searches: dict[str, SearchService] = dataclasses.field(default_factory=dict)
  recommenders: dict[str, RecommendService] = dataclasses.field(default_factory=dict)
  names: dict[str, NameService] = dataclasses.field(default_factory=dict)
  tokenizers: dict[str, Tokenizer] = dataclasses.field(default_factory=dict)
  commands: dict[str, str] = dataclasses.field(default_factory=dict)
  shops: dict[str, tuple[Shop, AnswerLog]] = dataclasses.field(default_factory=dict)
  sources: list[Source] = dataclasses.field(default_factory=list)

  def kinds(self) -> dict[str, dict[str, Any]]:
    """What requests look in, by the names of the fields."""
    return {kind: getattr(self, kind) for kind in KINDS}


def create_app(services: Services, limits: Limits | None = None, *, renew_seconds: float = 0.0) -> FastAPI:
  """An ASGI app over services; it starts, closes and (every `renew_seconds`, if that is above 0) renews them."""
  limits, metrics = limits or Limits(), Metrics()
  replacement = Replacement(services.kinds(), services.sources, lambda service: _begin(service, metrics))
  is_ready = False

  @contextlib.asynccontextmanager
  async def life(_: FastAPI) -> AsyncIterator[None]:
    nonlocal is_ready
    for named in services.kinds().values():
      for service in named.values():
        _begin(service, metrics)
    async with replacement.running(renew_seconds):
      is_ready = True
      yield
      is_ready = False
    for text in services.texts.values():
      text.close()
    for kind in (services.vectors, services.searches, services.recommenders, services.names):
      for other in kind.values():
        await other.close()

  app = FastAPI(title='mlsd_jax', version=mlsd_jax.__version__, lifespan=life)
  _handle_errors(app, metrics)
  app.add_middleware(_Gate, door=Door(limits), limits=limits, metrics=metrics)
  if limits.cors_origins:
    app.add_middleware(
      CORSMiddleware, allow_origins=list(limits.cors_origins), allow_methods=['GET', 'POST'], allow_headers=['*']
    )

  @app.get('/health')
  async def health() -> dict[str, str]:
    """The process answers."""
    return {'status': 'ok'}

  @app.get('/ready')
  async def ready() -> Response:
    """503 until everything is compiled, and again while the server shuts down."""
    return JSONResponse({'ready': is_ready}, 200 if is_ready else 503)

  @app.get('/metrics')
  async def read_metrics() -> Response:
    """For Prometheus."""
    for name, text in services.texts.items():
      stats = text.stats
      metrics.waiting.labels(name).set(text.waiting)
      metrics.running.labels(name).set(stats.reading + stats.decoding)
      metrics.prefix_bytes.labels(name).set(stats.prefix_bytes)
      metrics.decode_steps.labels(name).set(stats.steps)
      metrics.decode_rows.labels(name).set(stats.row_steps)
    for name, recommender in services.recommenders.items():
      if recommender.monitor is not None:
        metrics.tell_monitor(name, await asyncio.to_thread(recommender.monitor.figures))
    for kind in (services.vectors, services.searches, services.recommenders, services.names):
      for name, other in kind.items():
        metrics.waiting.labels(name).set(other.waiting)
    return Response(metrics.text(), media_type='text/plain; version=0.0.4')

  _add_openai(app, services, limits, metrics)
  _add_rerank(app, services, limits)
  _add_own(app, services, limits, metrics)

  @app.post('/v1/models/rollback')
  async def roll_back(body: RollbackRequest) -> dict[str, Any]:
    """Puts the version before back; the one that it replaces is not taken again by itself."""
    before = replacement.version(body.model)
    return {'model': body.model, 'version': await replacement.roll_back(body.model), 'replaced': before}

  add_page(app)
  return app


def _begin(service: Any, metrics: Metrics) -> None:
  """Starts a service and compiles what it needs."""
  for name in ('start', 'warm_up'):
    begin = getattr(service, name, None)
    if begin is not None:
      begin()
  for batcher in getattr(service, 'batchers', ()):
    batcher.on_batch = _count_items(metrics, service.name)


def _add_openai(app: FastAPI, services: Services, limits: Limits, metrics: Metrics) -> None:
  @app.get('/v1/models')
  async def list_models() -> dict[str, Any]:
    """Everything that a request's `model` may name."""
    return {'object': 'list', 'data': [_model(name, each) for name, each in _named(services).items()]}

  @app.get('/v1/models/{name:path}')
  async def show_model(name: str) -> dict[str, Any]:
    return _model(name, _find(_named(services), name))

  @app.post('/v1/completions', response_model=None)
  async def complete(body: CompletionRequest, request: Request) -> Response:
    """Texts that go on from prompts; `stream` sends them as they are written."""
    if body.model not in services.texts and body.model in _named(services):
      raise ApiError(400, f'{body.model} does not write text', param='model')
    completion = completions.read(body, _find(services.texts, body.model))
    client = request.scope['client_name']
    if body.stream:
      events = completions.stream(completion, metrics, client, request.url.path)
      first = await anext(events)  # what is refused at once is refused with its status
      return StreamingResponse(_behind(first, events), media_type='text/event-stream', headers=completion.headers())
    answer = completions.whole(completion, metrics, client)
    made = await answer_while_there(request, answer, limits.deadline_seconds)
    return JSONResponse(made, headers=completion.headers())

  @app.post('/v1/chat/completions', response_model=None)
  async def answer_chat(body: ChatRequest, request: Request) -> Any:
    """The assistant's next message, whole or as it is written; refused by a model that was not taught to chat."""
    completion = chat.read(body, _find(services.texts, body.model))
    client = request.scope['client_name']
    if body.stream:
      events = chat.stream(completion, metrics, client, request.url.path)
      first = await anext(events)
      return StreamingResponse(_behind(first, events), media_type='text/event-stream', headers=completion.headers())
    made = await answer_while_there(request, chat.whole(completion, metrics, client), limits.deadline_seconds)
    return JSONResponse(made, headers=completion.headers())

  @app.post('/v1/embeddings')
  async def embed(body: EmbeddingRequest, request: Request) -> dict[str, Any]:
    """A vector of each text."""
    work = embeddings.openai_embeddings(body, _find(services.vectors, body.model), request.scope['client_name'])
    return await answer_while_there(request, work, limits.deadline_seconds)


def _add_rerank(app: FastAPI, services: Services, limits: Limits) -> None:
  async def cohere(body: RerankRequest, request: Request) -> dict[str, Any]:
    """Documents by how well they answer a query, as Cohere has it."""
    work = embeddings.rerank(body, _find(services.vectors, body.model), request.scope['client_name'], is_jina=False)
    return await answer_while_there(request, work, limits.deadline_seconds)

  app.post('/v1/rerank', name='rerank_1')(cohere)
  app.post('/v2/rerank', name='rerank_2')(cohere)

  @app.post('/rerank', response_model=None)
  async def rerank(body: TeiRerankRequest | RerankRequest, request: Request) -> Any:
    """As Text Embeddings Inference has it (`texts`), or Jina (`documents`)."""
    client = request.scope['client_name']
    if isinstance(body, TeiRerankRequest):
      work: Any = embeddings.tei_rerank(body, _find(services.vectors, None), client)
    else:
      work = embeddings.rerank(body, _find(services.vectors, body.model), client, is_jina=True)
    return await answer_while_there(request, work, limits.deadline_seconds)

  @app.post('/embed')
  async def tei_embed(body: TeiEmbedRequest, request: Request) -> list[list[float]]:
    """As Text Embeddings Inference has it."""
    work = embeddings.tei_embed(body, _find(services.vectors, None), request.scope['client_name'])
    return await answer_while_there(request, work, limits.deadline_seconds)

  @app.get('/info')
  async def info() -> dict[str, Any]:
    """Of the encoder, as Text Embeddings Inference has it."""
    service = _find(services.vectors, None)
    return {
      'model_id': service.name,
      'model_dtype': service.encoder.dtype,
      'model_type': {'embedding': {'pooling': service.encoder.model.pooling}},
      'max_input_length': service.encoder.model.max_length,
      'version': mlsd_jax.__version__,
    }


def _add_own(app: FastAPI, services: Services, limits: Limits, metrics: Metrics) -> None:
  @app.post('/v1/search')
  async def search(body: SearchRequest, request: Request) -> dict[str, Any]:
    """Pages of a corpus, best first, and what each stage took."""
    service = _find(services.searches, body.model)
    work = service.search(body.query, folder=body.folder)
    found, pages = await answer_while_there(request, work, limits.deadline_seconds)
    _observe(metrics, service.name, found.milliseconds)
    return {'query': body.query, 'pages': pages[: body.number], 'milliseconds': dict(found.milliseconds)}

  @app.get('/v1/pages/{page_id:path}')
  def show_page(page_id: str, model: Annotated[str | None, Query(max_length=1000)] = None) -> dict[str, Any]:
    """The text of a page, to which the places of citations refer (in characters, not in bytes or UTF-16 units)."""
    return _find(services.searches, model).page(page_id)

  @app.post('/v1/ask')
  async def ask(body: SearchRequest, request: Request) -> dict[str, Any]:
    """Sentences that answer a question, each with its place in its page."""
    service = _find(services.searches, body.model)
    work = service.ask(body.query, folder=body.folder)
    found, said = await answer_while_there(request, work, limits.deadline_seconds)
    _observe(metrics, service.name, found.milliseconds)
    return {'query': body.query, **dataclasses.asdict(said), 'milliseconds': dict(found.milliseconds)}

  @app.post('/v1/recommend')
  async def recommend(body: RecommendRequest, request: Request) -> dict[str, Any]:
    """Items for a user, best first, and why; what the user bought lately beside them."""
    service = _find(services.recommenders, body.model)
    client = request.scope['client_name']
    asked = body.model_dump(exclude={'user', 'model', 'number'}, exclude_none=True)
    work = service.recommend(body.user, body.number, client=client, **asked)
    with metrics.time_stage(service.name, 'recommend'):
      made = await answer_while_there(request, work, limits.deadline_seconds)
    return made | {'history': service.history(body.user)}

  @app.post('/v1/events')
  async def post_events(body: EventsRequest) -> dict[str, Any]:
    """What users did: in the log, and in the next answer, when this one comes. All of a list counts, or none."""
    events = body if isinstance(body, list) else [body]
    if len({each.model for each in events}) > 1:
      raise ApiError(400, 'the events of a list go to one model', param='model')
    shop = _find_shop(services, events[0].model)
    made = [shop.make_event(moment=each.time, **each.model_dump(exclude={'time', 'model'})) for each in events]
    new = await shop.post(made)
    return {'accepted': len(made), 'repeated': len(made) - new, 'ids': [each.id for each in made]}

  @app.post('/v1/items')
  async def post_items(body: ItemsRequest) -> dict[str, Any]:
    """Items that are new in the shop: recommendable by their columns when this answer comes."""
    new = await _find_shop(services, body.model).post_items(body.items)
    return {'accepted': len(body.items), 'repeated': len(body.items) - new}

  @app.get('/v1/monitoring')
  async def show_monitoring(model: Annotated[str | None, Query(max_length=1000)] = None) -> dict[str, Any]:
    """Drift against the build, click-through, conversion and calibration, since the server started."""
    service = _find(services.recommenders, model)
    figures = await asyncio.to_thread(service.monitor.figures) if service.monitor else {}
    return {'model': service.name, 'version': service.view.state.version, **figures}

  @app.get('/v1/users')
  async def list_users(
    query: Annotated[str, Query(max_length=1000)] = '',
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    model: Annotated[str | None, Query(max_length=1000)] = None,
  ) -> dict[str, Any]:
    """Users of a recommender whose id contains `query`, and how many purchases each has."""
    return {'users': _find(services.recommenders, model).list_users(query, limit)}

  @app.get('/v1/users/{id:path}')
  async def show_user(
    id: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    model: Annotated[str | None, Query(max_length=1000)] = None,
  ) -> dict[str, Any]:
    """What a user bought and when, the newest first."""
    return _find(services.recommenders, model).show_user(id, limit)

  @app.get('/v1/systems')
  async def list_systems() -> dict[str, Any]:
    """What is served of each kind of system, and the command that makes one of a kind that is not."""
    return {
      kind: {'models': [{'id': name, **facts(each)} for name, each in getattr(services, kind).items()]}
      | ({'command': services.commands[kind]} if kind in services.commands else {})
      for kind, facts in _FACTS.items()
    }

  @app.post('/v1/tokenize')
  async def tokenize(body: TokenizeRequest) -> dict[str, Any]:
    """Ids of a text, and the characters that each has a part in."""
    tokenizer = _find(services.tokenizers, body.model)
    ids = tokenizer.encode(body.text)
    told = {'tokens': ids.tolist(), 'offsets': tokenizer.offsets(ids).tolist(), 'count': len(ids)}
    return told | {'pieces': [token_text(tokenizer, token) for token in told['tokens']]} if body.pieces else told

  @app.post('/v1/detokenize')
  async def detokenize(body: DetokenizeRequest) -> dict[str, Any]:
    """The text of ids."""
    return {'text': _find(services.tokenizers, body.model).decode(body.tokens)}

  @app.post('/v1/names')
  async def names(body: NamesRequest, request: Request) -> dict[str, Any]:
    """New words of a makemore run, or what each letter of given ones costs."""
    work = name_words(body, _find(services.names, body.model))
    return await answer_while_there(request, work, limits.deadline_seconds)

  @app.get('/v1/estimate')
  async def estimated_hardware() -> dict[str, Any]:
    """The devices that an estimate may be requested for: peaks, memory, bandwidths, listed prices."""
    return list_hardware()

  @app.post('/v1/estimate')
  def estimate(body: EstimateRequest) -> dict[str, Any]:
    """What a GPT-2 takes to train and to serve on given hardware: quantities, formulas, what bounds it."""
    return show_estimate(body)

  @app.post('/v1/micrograd')
  def micrograd(body: ExpressionRequest) -> dict[str, Any]:
    """The graph of an expression, the value of each node and its gradient."""
    # Not async: FastAPI calls it in a thread, so that a drawing keeps nobody else waiting.
    return show_graph(body)


def _find_shop(services: Services, model: str | None) -> Shop:
  service = _find(services.recommenders, model)
  if service.shop is None:
    raise ApiError(409, f'{service.name} takes no events: its state stays as it was built', code='no_events')
  return service.shop


def _observe(metrics: Metrics, name: str, milliseconds: Mapping[str, float]) -> None:
  for stage, value in milliseconds.items():
    metrics.stages.labels(name, stage).observe(value / 1000)


def _count_items(metrics: Metrics, name: str) -> Callable[[int, float], None]:
  return lambda items, seconds: metrics.batch_items.labels(name).observe(items)


async def _behind(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
  yield first
  async for each in rest:
    yield each


def _named(services: Services) -> dict[str, Any]:
  return {**services.texts, **services.vectors, **services.searches, **services.recommenders, **services.names}


def _model(name: str, service: Any) -> dict[str, Any]:
  return {'id': name, 'object': 'model', 'created': getattr(service, 'created', 0), 'owned_by': 'mlsd_jax'}


def _find[T](services: Mapping[str, T], name: str | None) -> T:
  """The service of a name; the first if none is named.

  Raises:
    ApiError: there is none (404); those that there are are named.
  """
  if name is None and services:
    return next(iter(services.values()))
  if name is None or name not in services:
    known = ', '.join(services) or 'none'
    shown = 'a model of this kind' if name is None else f'the model {name[:100]!r}'
    raise ApiError(404, f'{shown} is not served here; there is {known}', param='model', code='model_not_found')
  return services[name]


def _handle_errors(app: FastAPI, metrics: Metrics) -> None:
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
    if isinstance(error.__cause__, ApiError):  # a body that became too long while it was read
      return tell(request, error.__cause__)
    return tell(request, ApiError(error.status_code, f'{request.method} {request.url.path[:200]}: {error.detail}'))

  @app.exception_handler(Exception)
  async def unknown(request: Request, _: Exception) -> Response:
    return tell(request, ApiError(500, 'the server failed; its log says why'))


class _Gate:
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
