from .judge import Case, Checker, Report, judge
from .limits import Limits
from .problem import Problem
from .sorted_list import SortedList
from .stress import shrink

__all__ = [
  'Case',
  'Checker',
  'Limits',
  'Problem',
  'Report',
  'SortedList',
  'judge',
  'shrink',
]
