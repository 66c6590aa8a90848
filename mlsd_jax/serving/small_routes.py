"""The addresses of the small systems: makemore's names, micrograd's graphs, attention maps, the judge."""

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from mlsd_jax.serving.attention_maps import show_attention
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.judge_service import JudgeService
from mlsd_jax.serving.limits import Limits
from mlsd_jax.serving.requests import AttentionRequest, ExpressionRequest, JudgeRequest, NamesRequest
from mlsd_jax.serving.services import Services, find
from mlsd_jax.serving.small_systems import name_words, show_graph
from mlsd_jax.serving.waiting import answer_while_there


def add_small_systems(app: FastAPI, services: Services, limits: Limits) -> None:
  """Adds them to the app. What is not async here FastAPI calls in a thread: it keeps nobody else waiting."""

  @app.post('/v1/names')
  async def names(body: NamesRequest, request: Request) -> dict[str, Any]:
    """New words of a makemore run, or what each letter of given ones costs."""
    work = name_words(body, find(services.names, body.model))
    return await answer_while_there(request, work, limits.deadline_seconds)

  @app.post('/v1/micrograd')
  def micrograd(body: ExpressionRequest) -> dict[str, Any]:
    """The graph of an expression, the value of each node and its gradient."""
    return show_graph(body)

  @app.post('/v1/attention', response_model=None)
  def attention(body: AttentionRequest) -> Response:
    """Where each head of a language model looks while it reads a text."""
    return JSONResponse(show_attention(body, find(services.texts, body.model)))

  @app.get('/v1/judge')
  def list_problems() -> dict[str, Any]:
    """Problems that programs can be submitted to, with the limits and languages."""
    return _judge(services).describe()

  @app.post('/v1/judge')
  async def submit(body: JudgeRequest, request: Request) -> dict[str, Any]:
    """The verdict on a program, case by case."""
    work = _judge(services).judge(body.problem, body.source, body.language)
    return await answer_while_there(request, work, limits.deadline_seconds)


def _judge(services: Services) -> JudgeService:
  for judge in services.judges.values():
    return judge
  raise ApiError(404, 'the judge is off here: --config.judge=True starts the server with it', code='judge_is_off')
