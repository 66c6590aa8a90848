from .app import (
  Services,
  create_app,
)
from .limits import (
  Limits,
)
from .recommend_service import (
  RecommendService,
)
from .search_service import (
  SearchService,
)
from .text_service import (
  TextService,
)
from .vector_service import (
  VectorService,
)

__all__ = [
  'Limits',
  'RecommendService',
  'SearchService',
  'Services',
  'TextService',
  'VectorService',
  'create_app',
]
