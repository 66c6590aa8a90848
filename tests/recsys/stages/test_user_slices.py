"""Slices of users, over threads: results come in order."""

import dataclasses

import numpy as np
import pytest

from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.stages import candidates, user_slices

PER_SOURCE = dict.fromkeys(('repurchase', 'popular', 'place', 'category', 'covisit'), 30)


@pytest.mark.parametrize('number', [0, 1, 127, 128, 129, 1000])
def test_slices_follow_each_other_and_so_do_their_results(number):
  results = user_slices.over_users(lambda rows: np.arange(rows.start, rows.stop), number)
  assert np.concatenate(results).tolist() == list(range(number))


def test_what_a_function_raises_is_raised():
  def fails(rows):
    if rows.start:
      raise ValueError('no')

  with pytest.raises(ValueError, match='no'):
    user_slices.over_users(fails, 1000)


def test_a_slice_of_the_users_has_their_candidates(made):
  dataset = made.dataset
  taken = snapshot.take(dataset, weeks.list_cuts(dataset, 1)[0])
  users = np.array([5, 2, 9, 7], np.int32)
  sources = {name: candidates.SOURCES[name] for name in PER_SOURCE}
  whole, part = (candidates.collect(taken, asked, sources, PER_SOURCE) for asked in (users, users[1:3]))
  for field in dataclasses.fields(part):
    np.testing.assert_array_equal(getattr(whole.slice_users(slice(1, 3)), field.name), getattr(part, field.name))
