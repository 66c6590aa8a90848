from .answers import Answer, answer
from .bm25 import BM25, BM25Config
from .build import BuildConfig, build_store
from .chunking import Chunk, ChunkConfig
from .pages import Page, read_pages
from .search import Found, Hit, SearchConfig, Searcher
from .store import Store, open_store

__all__ = [
  'BM25',
  'Answer',
  'BM25Config',
  'BuildConfig',
  'Chunk',
  'ChunkConfig',
  'Found',
  'Hit',
  'Page',
  'SearchConfig',
  'Searcher',
  'Store',
  'answer',
  'build_store',
  'open_store',
  'read_pages',
]
