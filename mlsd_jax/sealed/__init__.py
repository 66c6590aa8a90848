"""Folders that are whole or do not count: written once, checked when opened, one writer at a time."""

from mlsd_jax.sealed.lock import lock

__all__ = ['lock']
