"""The server: what answers at which address. Every address is in /docs, from the schema that FastAPI makes."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, StreamingResponse

import mlsd_jax
from mlsd_jax.serving import chat, completions, embeddings
from mlsd_jax.serving.attention_maps import heads_of
from mlsd_jax.serving.bodies import refuse_repeated_keys
from mlsd_jax.serving.error_answers import handle_errors
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.estimating import list_hardware, show_estimate
from mlsd_jax.serving.gate import Gate
from mlsd_jax.serving.limits import Door, Limits
from mlsd_jax.serving.metrics import Metrics
from mlsd_jax.serving.replacement import Replacement
from mlsd_jax.serving.requests import (
  ChatRequest,
  CompletionRequest,
  DetokenizeRequest,
  EmbeddingRequest,
  EstimateRequest,
  RerankRequest,
  RollbackRequest,
  SearchRequest,
  TeiEmbedRequest,
  TeiRerankRequest,
  TokenizeRequest,
)
from mlsd_jax.serving.services import Services, find, name_models
from mlsd_jax.serving.shop_routes import add_shop
from mlsd_jax.serving.small_routes import add_small_systems
from mlsd_jax.serving.tokens import show_tokens
from mlsd_jax.serving.waiting import answer_while_there
from mlsd_jax.serving.web_page import add_page

_FACTS: dict[str, Callable[[Any], dict[str, Any]]] = {  # what is told of each service, beside its name
  'texts': lambda each: {'context_length': each.max_length, 'attention': heads_of(each)},
  'vectors': lambda each: {'dimensions': each.encoder.dim},
  'searches': lambda each: {'pages': len(each.searcher.store.page_ids), 'chunks': each.searcher.store.num_chunks},
  'recommenders': lambda each: {'users': len(each.view.users), 'items': len(each.view.items)},
  'names': lambda each: {'rungs': list(each.models)},
  'judges': lambda each: {},
  'tokenizers': lambda each: {'vocab_size': each.vocab_size},
}


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
    for other in _others(services):
      await other.close()

  app = FastAPI(title='mlsd_jax', version=mlsd_jax.__version__, lifespan=life)
  handle_errors(app, metrics)
  refuse_repeated_keys(app)
  app.add_middleware(Gate, door=Door(limits), limits=limits, metrics=metrics)
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
    for other in _others(services):
      metrics.waiting.labels(other.name).set(other.waiting)
    return Response(metrics.text(), media_type='text/plain; version=0.0.4')

  _add_openai(app, services, limits, metrics)
  _add_rerank(app, services, limits)
  _add_own(app, services, limits, metrics)
  add_small_systems(app, services, limits)
  add_shop(app, services, limits, metrics)

  @app.post('/v1/models/rollback')
  async def roll_back(body: RollbackRequest) -> dict[str, Any]:
    """Puts the version before back; the one that it replaces is not taken again by itself."""
    before = replacement.version(body.model)
    return {'model': body.model, 'version': await replacement.roll_back(body.model), 'replaced': before}

  add_page(app)
  return app


def _others(services: Services) -> Iterator[Any]:
  """All services that are closed and waited for but those that write."""
  for kind in (services.vectors, services.searches, services.recommenders, services.names, services.judges):
    yield from kind.values()


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
    return {'object': 'list', 'data': [_model(name, each) for name, each in name_models(services).items()]}

  @app.get('/v1/models/{name:path}')
  async def show_model(name: str) -> dict[str, Any]:
    return _model(name, find(name_models(services), name))

  @app.post('/v1/completions', response_model=None)
  async def complete(body: CompletionRequest, request: Request) -> Response:
    """Texts that go on from prompts; `stream` sends them as they are written."""
    if body.model not in services.texts and body.model in name_models(services):
      raise ApiError(400, f'{body.model} does not write text', param='model')
    completion = completions.read(body, find(services.texts, body.model))
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
    completion = chat.read(body, find(services.texts, body.model))
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
    work = embeddings.openai_embeddings(body, find(services.vectors, body.model), request.scope['client_name'])
    return await answer_while_there(request, work, limits.deadline_seconds)


def _add_rerank(app: FastAPI, services: Services, limits: Limits) -> None:
  async def cohere(body: RerankRequest, request: Request) -> dict[str, Any]:
    """Documents by how well they answer a query, as Cohere has it."""
    work = embeddings.rerank(body, find(services.vectors, body.model), request.scope['client_name'], is_jina=False)
    return await answer_while_there(request, work, limits.deadline_seconds)

  app.post('/v1/rerank', name='rerank_1')(cohere)
  app.post('/v2/rerank', name='rerank_2')(cohere)

  @app.post('/rerank', response_model=None)
  async def rerank(body: TeiRerankRequest | RerankRequest, request: Request) -> Any:
    """As Text Embeddings Inference has it (`texts`), or Jina (`documents`)."""
    client = request.scope['client_name']
    if isinstance(body, TeiRerankRequest):
      work: Any = embeddings.tei_rerank(body, find(services.vectors, None), client)
    else:
      work = embeddings.rerank(body, find(services.vectors, body.model), client, is_jina=True)
    return await answer_while_there(request, work, limits.deadline_seconds)

  @app.post('/embed')
  async def tei_embed(body: TeiEmbedRequest, request: Request) -> list[list[float]]:
    """As Text Embeddings Inference has it."""
    work = embeddings.tei_embed(body, find(services.vectors, None), request.scope['client_name'])
    return await answer_while_there(request, work, limits.deadline_seconds)

  @app.get('/info')
  async def info() -> dict[str, Any]:
    """Of the encoder, as Text Embeddings Inference has it."""
    service = find(services.vectors, None)
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
    """Pages of a corpus, best first, folders that they are in, a query that may be meant, and what each stage took."""
    service = find(services.searches, body.model)
    work = service.search(body.query, folder=body.folder, number=body.number)
    found, told = await answer_while_there(request, work, limits.deadline_seconds)
    _observe(metrics, service.name, found.milliseconds)
    return {'query': body.query, **told, 'milliseconds': dict(found.milliseconds)}

  @app.get('/v1/pages/{page_id:path}')
  def show_page(page_id: str, model: Annotated[str | None, Query(max_length=1000)] = None) -> dict[str, Any]:
    """The text of a page, to which the places of citations refer (in characters, not in bytes or UTF-16 units)."""
    return find(services.searches, model).page(page_id)

  @app.post('/v1/ask')
  async def ask(body: SearchRequest, request: Request) -> dict[str, Any]:
    """Sentences that answer a question, each with its place in its page."""
    service = find(services.searches, body.model)
    work = service.ask(body.query, folder=body.folder)
    found, said = await answer_while_there(request, work, limits.deadline_seconds)
    _observe(metrics, service.name, found.milliseconds)
    return {'query': body.query, **dataclasses.asdict(said), 'milliseconds': dict(found.milliseconds)}

  @app.get('/v1/systems')
  async def list_systems() -> dict[str, Any]:
    """What is served of each kind of system, and the command that makes one of a kind that is not."""
    return {
      kind: {'models': [{'id': name, **facts(each)} for name, each in getattr(services, kind).items()]}
      | ({'command': services.commands[kind]} if kind in services.commands else {})
      for kind, facts in _FACTS.items()
    }

  @app.post('/v1/tokenize')
  def tokenize(body: TokenizeRequest) -> Response:
    """Ids of a text, and the characters that each has a part in."""
    # No coroutine: a megabyte takes a part of a second, in which a thread lets others be answered.
    told = show_tokens(find(services.tokenizers, body.model), body.text, pieces=body.pieces)
    return Response(told, media_type='application/json')

  @app.post('/v1/detokenize')
  def detokenize(body: DetokenizeRequest) -> dict[str, Any]:
    """The text of ids."""
    return {'text': find(services.tokenizers, body.model).decode(body.tokens)}

  @app.get('/v1/estimate')
  async def estimated_hardware() -> dict[str, Any]:
    """The devices that an estimate may be requested for: peaks, memory, bandwidths, listed prices."""
    return list_hardware()

  @app.post('/v1/estimate')
  def estimate(body: EstimateRequest) -> dict[str, Any]:
    """What a GPT-2 takes to train and to serve on given hardware: quantities, formulas, what bounds it."""
    return show_estimate(body)


def _observe(metrics: Metrics, name: str, milliseconds: Mapping[str, float]) -> None:
  for stage, value in milliseconds.items():
    metrics.stages.labels(name, stage).observe(value / 1000)


def _count_items(metrics: Metrics, name: str) -> Callable[[int, float], None]:
  return lambda items, seconds: metrics.batch_items.labels(name).observe(items)


async def _behind(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
  yield first
  async for each in rest:
    yield each


def _model(name: str, service: Any) -> dict[str, Any]:
  return {'id': name, 'object': 'model', 'created': getattr(service, 'created', 0), 'owned_by': 'mlsd_jax'}
