"""Tables of an evaluation."""

import polars as pl

from mlsd_jax.recsys.judging import tables


def test_a_segment_without_users_says_so():
  rows = {'stage': ['blend'] * 3, 'segment': ['light'] * 3, 'map@12': [0.1, 0.2, 0.3], 'recall@100': [0.5, 0.5, 0.5]}
  lines = tables.format_segments(pl.DataFrame(rows), ('blend',)).splitlines()
  assert [line.split()[0] for line in lines[1:]] == ['cold', 'light', 'heavy']
  assert lines[1].endswith('no such user bought in the week')
  assert '3  blend' in lines[2]
