"""makemore: a ladder of models that make more words like those of a list (after Karpathy).

from mlsd_jax.makemore import make_words, name_task
task = name_task(config, batch_size=32)
print(make_words(params, words, config, 20, jax.random.key(0)))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
