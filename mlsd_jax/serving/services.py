"""What is served, and how a request finds it by the name of a model."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mlsd_jax.serving.answers import AnswerLog
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.judge_service import JudgeService
from mlsd_jax.serving.name_service import NameService
from mlsd_jax.serving.recommend_service import RecommendService
from mlsd_jax.serving.replacement import KINDS, Source
from mlsd_jax.serving.search_service import SearchService
from mlsd_jax.serving.shop import Shop
from mlsd_jax.serving.text_service import TextService
from mlsd_jax.serving.vector_service import VectorService
from mlsd_jax.tokenizers import Tokenizer


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
  judges: dict[str, JudgeService] = dataclasses.field(default_factory=dict)
  tokenizers: dict[str, Tokenizer] = dataclasses.field(default_factory=dict)
  commands: dict[str, str] = dataclasses.field(default_factory=dict)
  shops: dict[str, tuple[Shop, AnswerLog]] = dataclasses.field(default_factory=dict)
  sources: list[Source] = dataclasses.field(default_factory=list)

  def kinds(self) -> dict[str, dict[str, Any]]:
    """What requests look in, by the names of the fields."""
    return {kind: getattr(self, kind) for kind in KINDS}


def name_models(services: Services) -> dict[str, Any]:
  return {**services.texts, **services.vectors, **services.searches, **services.recommenders, **services.names}


def find[T](services: Mapping[str, T], name: str | None) -> T:
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
