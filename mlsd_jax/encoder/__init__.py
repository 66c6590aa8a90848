"""Text encoders (MiniLM, E5, BGE): texts to vectors, pairs to scores, and their training.

from mlsd_jax.encoder import load_encoder
vectors = load_encoder().encode(['a text', 'another'])
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
