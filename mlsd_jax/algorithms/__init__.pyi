from .checking import Checker
from .judge import judge
from .limits import Limits
from .problem import Problem
from .sorted_list import SortedList
from .stress import shrink
from .verdicts import Case, Report

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
