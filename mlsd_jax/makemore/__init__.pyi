from .new_words import make_words, novel_share
from .statistics import Statistics
from .task import mean_loss, name_task

__all__ = [
  'Statistics',
  'make_words',
  'mean_loss',
  'name_task',
  'novel_share',
]
