from .documents import Document
from .sources import Source, open_source
from .tokens import EvalBatches, TokenBatches, TokenDataset
from .words import WordList, load_words

__all__ = [
  'Document',
  'EvalBatches',
  'Source',
  'TokenBatches',
  'TokenDataset',
  'WordList',
  'load_words',
  'open_source',
]
