"""Sampling from language models with a key-value cache, and beam search.

from mlsd_jax.generation import SamplingConfig, generate
samples = generate(params, config, tokenizer, ['ROMEO:'], sampling=SamplingConfig(temperature=0.8), max_new_tokens=100)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
