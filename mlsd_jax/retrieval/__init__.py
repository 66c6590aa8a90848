"""Documents -> chunks -> embeddings -> index -> search -> rerank -> answer -> evaluation.

from mlsd_jax.retrieval import SearchConfig, Searcher, open_store
searcher = Searcher(open_store(folder, encoder), encoder, SearchConfig())
found = searcher.search('how to resize a disk')
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
