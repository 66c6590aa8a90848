"""micrograd: a scalar autograd engine, networks of it, and their compilation to array operations.

from mlsd_jax.autograd import MLP, Value
a = Value(2.0)
b = a * a + 1
b.backward()
print(a.grad)  # 4.0
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
