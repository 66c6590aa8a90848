"""Back-of-envelope figures of every system: pure functions from shapes, hardware and load to numbers with units.

Each function states its formula, its units and where the formula comes from. Nothing here touches a device, but for
what times this machine.

from mlsd_jax.estimates import find, table, training, transformer
model = transformer.of_gpt({'num_layers': 12, 'num_heads': 12, 'embed_dim': 768, 'context_length': 1024}, 50257)
plan = training.Plan(model, length=1024, batch_size=512, steps=600_000, dtype='bfloat16')
print('\\n'.join(table.lines(training.estimate(plan, find('8xh100'), mfu=0.4))))
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
