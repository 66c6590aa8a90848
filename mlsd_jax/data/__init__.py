"""Data by name: sources of text, tokenised shards, batches of tokens, lists of words.

from mlsd_jax.data import open_source
for document in open_source('tinyshakespeare').documents():
  print(document.title, len(document.text))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
