"""The table of what the cage holds is what it holds."""

import os
import pathlib

import pytest

from mlsd_jax.algorithms.cage import landlock
from tests.algorithms import cage_table


def test_the_table_of_the_docs_is_what_is_tried():
  if os.geteuid() or landlock.version() < 6:
    pytest.skip('only root can play the others, and the table is of a kernel with Landlock 6 or newer')
  text = (pathlib.Path(__file__).parents[2] / 'docs/explanation/algorithms.md').read_text()
  assert '\n'.join(cage_table.table()) in text
