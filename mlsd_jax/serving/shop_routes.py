"""The addresses of a recommender: what to show, what was bought, what is new, who buys, how it goes."""

import asyncio
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request

from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.limits import Limits
from mlsd_jax.serving.metrics import Metrics
from mlsd_jax.serving.requests import EventsRequest, ItemsRequest, RecommendRequest
from mlsd_jax.serving.services import Services, find
from mlsd_jax.serving.shop import Shop
from mlsd_jax.serving.waiting import answer_while_there


def add_shop(app: FastAPI, services: Services, limits: Limits, metrics: Metrics) -> None:
  """Adds them to the app."""

  @app.post('/v1/recommend')
  async def recommend(body: RecommendRequest, request: Request) -> dict[str, Any]:
    """Items for a user, best first, and why; what the user bought lately beside them."""
    service = find(services.recommenders, body.model)
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
    service = find(services.recommenders, model)
    figures = await asyncio.to_thread(service.monitor.figures) if service.monitor else {}
    return {'model': service.name, 'version': service.view.state.version, **figures}

  @app.get('/v1/users')
  async def list_users(
    query: Annotated[str, Query(max_length=1000)] = '',
    limit: Annotated[int, Query(ge=1, le=1000)] = 20,
    model: Annotated[str | None, Query(max_length=1000)] = None,
  ) -> dict[str, Any]:
    """Users of a recommender whose id contains `query`, and how many purchases each has."""
    return {'users': find(services.recommenders, model).list_users(query, limit)}

  @app.get('/v1/users/{id:path}')
  async def show_user(
    id: str,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    model: Annotated[str | None, Query(max_length=1000)] = None,
  ) -> dict[str, Any]:
    """What a user bought and when, the newest first."""
    return find(services.recommenders, model).show_user(id, limit)


def _find_shop(services: Services, model: str | None) -> Shop:
  service = find(services.recommenders, model)
  if service.shop is None:
    raise ApiError(409, f'{service.name} takes no events: its state stays as it was built', code='no_events')
  return service.shop
