"""Trained systems as services: text, embeddings, reranking and search over HTTP, in the shapes that clients expect.

from mlsd_jax.serving import Limits, Services, create_app
uvicorn.run(create_app(Services(texts={'gpt': TextService('gpt', params, config, tokenizer)}), Limits()))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
