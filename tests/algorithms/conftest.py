"""One pool of supervisors for all tests of a worker."""

import pytest

from mlsd_jax.algorithms.pool import Pool


@pytest.fixture(scope='session')
def pool():
  with Pool(2) as pool:
    yield pool
