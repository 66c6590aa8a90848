"""What every test needs: eight CPU devices, no implicit rank promotion surprises, a fresh key."""

import os

os.environ.setdefault('JAX_NUM_CPU_DEVICES', '8')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')

import jax
import pytest


@pytest.fixture
def key() -> jax.Array:
  return jax.random.key(0)
