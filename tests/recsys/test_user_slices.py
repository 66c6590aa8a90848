"""Users some at a time, over threads: in order, and what comes out does not depend on how many go together."""

import dataclasses

import numpy as np
import pytest

from mlsd_jax.recsys import funnel, user_slices
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages import candidates

PER_SOURCE = dict.fromkeys(('repurchase', 'popular', 'place', 'category', 'covisit'), 30)


@pytest.mark.parametrize('number', [0, 1, 127, 128, 129, 1000])
def test_slices_follow_each_other_and_so_do_their_results(number):
  found = user_slices.over_users(lambda chosen: np.arange(chosen.start, chosen.stop), number)
  assert np.concatenate(found).tolist() == list(range(number))


def test_what_a_function_raises_is_raised():
  def fails(chosen):
    if chosen.start:
      raise ValueError('no')

  with pytest.raises(ValueError, match='no'):
    user_slices.over_users(fails, 1000)


def test_candidates_and_features_are_the_same_however_many_users_go_together(made, monkeypatch):
  dataset = made.dataset
  cut = weeks.cuts(dataset, 1)[0]
  taken, histories = snapshot.take(dataset, cut), Histories.of(dataset.events, dataset.num_users)
  targets = weeks.targets(dataset, cut)

  def found(together):
    monkeypatch.setattr(user_slices, '_TOGETHER', together)
    week = funnel.prepare(taken, targets, targets.users, None, histories, PER_SOURCE)
    return week, *funnel.narrowed(week, funnel.fit_blend(week), 20)

  (week, best, features), (other, other_best, other_features) = found(3), found(10_000)
  assert len(targets.users) > 30
  np.testing.assert_array_equal(week.signals, other.signals)
  for mine, others in ((week.candidates, other.candidates), (best, other_best), (features, other_features)):
    for field in dataclasses.fields(mine):
      np.testing.assert_array_equal(getattr(mine, field.name), getattr(others, field.name))


def test_a_slice_of_the_users_has_their_candidates(made):
  dataset = made.dataset
  taken = snapshot.take(dataset, weeks.cuts(dataset, 1)[0])
  users = np.array([5, 2, 9, 7], np.int32)
  sources = {name: candidates.SOURCES[name] for name in PER_SOURCE}
  whole, part = (candidates.collect(taken, some, sources, PER_SOURCE) for some in (users, users[1:3]))
  for field in dataclasses.fields(part):
    np.testing.assert_array_equal(getattr(whole.of(slice(1, 3)), field.name), getattr(part, field.name))
