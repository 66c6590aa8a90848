"""A small shop with a known cause, shared by the tests of the recommender."""

import pytest

from mlsd_jax.recsys.purchases.generator import Generated, Synthetic, generate


@pytest.fixture(scope='session')
def made() -> Generated:
  return generate(Synthetic(num_users=300, num_items=200, events_per_user=20, weeks=12, tastes=8, seed=1))
