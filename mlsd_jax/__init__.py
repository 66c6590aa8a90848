"""Eight machine-learning systems on one small functional JAX core."""

__version__ = '0.1.0'
