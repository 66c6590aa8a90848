from . import (
  decoding,
  hardware,
  judge,
  ladder,
  quiz,
  recommender,
  retrieval,
  table,
  tokenizer,
  training,
  transformer,
  units,
)
from .hardware import Device, Hardware, find
from .table import Group, Row
from .transformer import Transformer

__all__ = [
  'Device',
  'Group',
  'Hardware',
  'Row',
  'Transformer',
  'decoding',
  'find',
  'hardware',
  'judge',
  'ladder',
  'quiz',
  'recommender',
  'retrieval',
  'table',
  'tokenizer',
  'training',
  'transformer',
  'units',
]
