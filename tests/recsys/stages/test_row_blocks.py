"""Rows some at a time, against all at once."""

import numpy as np
import pytest

from mlsd_jax.recsys.stages import row_blocks


@pytest.mark.parametrize('number', [0, 1, row_blocks._ROWS, row_blocks._ROWS + 1, 2 * row_blocks._ROWS + 7])
def test_blocks_are_as_all_rows_at_once(number):
  rng = np.random.default_rng(number)
  item, score = rng.integers(0, 9, number), rng.standard_normal((number, 3)).astype(np.float32)
  told = []

  def table(item, score):
    told.append(len(item))
    return np.concatenate([np.log1p(item)[:, None], score], 1).astype(np.float32)

  found = row_blocks.over_rows(table, item, score)
  assert sum(told) == number
  assert max(told) <= row_blocks._ROWS
  assert found.dtype == np.float32
  np.testing.assert_array_equal(found, table(item, score))
