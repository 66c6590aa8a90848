"""Algorithms: a judge, design problems with proof of their complexity, a contestant's toolkit. No JAX.

from mlsd_jax.algorithms import SortedList
numbers = SortedList([3, 1, 2])
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
