"""A state that goes on: purchases that are posted are counted in it at once, without anything being trained."""

from mlsd_jax.recsys.live.live_state import LiveState, Purchase

__all__ = ['LiveState', 'Purchase']
