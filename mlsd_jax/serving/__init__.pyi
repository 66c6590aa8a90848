from .answers import (
  AnswerLog,
)
from .app import (
  create_app,
)
from .limits import (
  Limits,
)
from .name_service import (
  NameService,
)
from .recommend_service import (
  RecommendService,
)
from .search_service import (
  SearchService,
)
from .services import (
  Services,
)
from .shop import (
  Shop,
)
from .text_service import (
  TextService,
)
from .vector_service import (
  VectorService,
)

__all__ = [
  'AnswerLog',
  'Limits',
  'NameService',
  'RecommendService',
  'SearchService',
  'Services',
  'Shop',
  'TextService',
  'VectorService',
  'create_app',
]
