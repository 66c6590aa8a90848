"""Language models: training tasks, text, scores, exchange with Hugging Face, and a look inside.

from mlsd_jax.language_model import load_gpt2, logit_lens
params, config = load_gpt2('gpt2')
log_probabilities = logit_lens(params, tokens, config)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
