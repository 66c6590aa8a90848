"""The models: pure functions of a nested dict of arrays, made from Flax NNX modules.

from mlsd_jax.models import GPTConfig, gpt
config = GPTConfig(vocab_size=65, context_length=64, num_layers=2, num_heads=4, embed_dim=128)
params = gpt.init(jax.random.key(0), config)
logits = gpt.apply(params, tokens, config)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
