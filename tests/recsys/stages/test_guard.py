"""The guard: finds what orders best, keeps what was there where it knows little."""

import dataclasses

import numpy as np
import pytest

from mlsd_jax.recsys.stages import guard
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.guard import GuardSample

EACH = 30


def _sample(users: int, right: str, segment: str = 'light', seed: int = 0) -> GuardSample:
  """Candidates of which a user buys by what `right` says, beside a ranker, a blend and a source that are noise."""
  rng = np.random.default_rng(seed)
  number = users * EACH
  rank = np.concatenate([rng.permutation(EACH) + 1 for _ in range(users)]).astype(np.int16)[:, None]
  candidates = Candidates(
    np.arange(users, dtype=np.int32),
    np.arange(users + 1) * EACH,
    np.tile(np.arange(EACH, dtype=np.int32), users),
    rank,
    np.zeros((number, 1), np.float32),
    ('popular',),
  )
  logits, by = rng.normal(-3, 1.5, (2, number)).astype(np.float32)
  truth = {'ranker': logits, 'blend': by, 'popular': 6 / np.log2(1 + rank[:, 0]) - 5}[right]
  bought = rng.random(number) < 1 / (1 + np.exp(-truth))
  return GuardSample(candidates, logits, by, np.full(users, segment), bought)


def _first(sample, fitted):
  """The share of what stands first that was bought."""
  logits = np.repeat(sample.logits[:, None], 3, 1)
  order = fitted.order(logits, sample.by, sample.candidates, sample.segments)[:, 0]
  return sample.bought[order.reshape(-1, EACH).argmax(1) + np.arange(len(sample.segments)) * EACH].mean()


@pytest.mark.parametrize('right', ['ranker', 'blend', 'popular'])
def test_what_orders_best_is_found(right):
  before = guard.start('blend')
  fitted = guard.fit([_sample(300, right, seed=1), _sample(300, right, seed=2)], before)
  judged = _sample(2000, right, seed=3)
  alone = dataclasses.replace(before, weights={'light': {right: 1.0}})
  assert _first(judged, fitted) > _first(judged, alone) - 0.03
  if right != 'ranker':
    assert _first(judged, fitted) > 1.3 * _first(judged, before)


def test_few_users_change_little_and_none_nothing():
  before = guard.start('blend')
  weights = guard.fit([_sample(2, 'popular')], before).weights
  assert weights['light']['ranker'] == pytest.approx(1.0, abs=0.15)
  assert weights['heavy'] == before.weights['heavy']
  assert weights['cold'] == {'blend': 1.0}


def test_each_users_logits_stay_the_same_numbers():
  sample = _sample(20, 'blend', segment='cold')
  logits = np.stack([sample.logits, sample.by, sample.logits], 1)
  ordered = guard.start('blend').order(logits, sample.by, sample.candidates, sample.segments)
  of_users = lambda values: values.reshape(20, EACH, 3)
  assert not np.array_equal(ordered, logits)
  for before, after, by in zip(of_users(logits), of_users(ordered), sample.by.reshape(20, EACH), strict=True):
    np.testing.assert_array_equal(np.sort(before[:, 0]), np.sort(after[:, 0]))
    np.testing.assert_array_equal(np.argsort(after[:, 0]), np.argsort(by))
    assert {tuple(row) for row in before} == {tuple(row) for row in after}


def test_a_ranker_that_is_not_guarded_keeps_every_logit():
  sample = _sample(20, 'ranker')
  logits = np.stack([sample.logits, sample.by, sample.by], 1)
  np.testing.assert_array_equal(
    guard.start('blend').order(logits, sample.by, sample.candidates, sample.segments), logits
  )


@pytest.mark.parametrize('right', ['blend', 'popular'])
def test_the_order_that_found_most_is_chosen_for_a_segment(right):
  samples = [_sample(200, right, 'cold', seed=1), _sample(200, right, 'cold', seed=2), _sample(200, 'ranker', seed=3)]
  before = guard.start('blend')
  chosen = guard.choose(samples, before, 'cold')
  assert chosen.weights['light'] == before.weights['light']
  judged = _sample(100, right, 'cold', seed=4)
  logits = np.repeat(judged.logits[:, None], 3, 1)
  order = chosen.order(logits, judged.by, judged.candidates, judged.segments)[:, 0].reshape(-1, EACH)
  expected = judged.by.reshape(-1, EACH) if right == 'blend' else -judged.candidates.rank.reshape(-1, EACH)
  np.testing.assert_array_equal(np.argsort(order), np.argsort(expected))


def test_what_a_source_does_not_name_comes_behind_as_before():
  sample = _sample(300, 'popular', 'cold')
  few = np.where(sample.candidates.rank > 15, 0, sample.candidates.rank)
  sample = dataclasses.replace(sample, candidates=dataclasses.replace(sample.candidates, rank=few))
  chosen = guard.choose([sample], guard.start('blend'), 'cold')
  logits = np.repeat(sample.logits[:, None], 3, 1)
  order = chosen.order(logits, sample.by, sample.candidates, sample.segments)[:, 0].reshape(-1, EACH)
  slow = [sorted(range(EACH), key=lambda item: (rank[item] or 99, -by[item]))  # ranks, then what the blend says
          for rank, by in zip(few.reshape(-1, EACH), sample.by.reshape(-1, EACH), strict=True)]  # fmt: skip
  np.testing.assert_array_equal(np.argsort(-order), slow)


def test_an_order_is_kept_where_nobody_bought():
  sample = _sample(5, 'popular', 'cold')
  nothing = dataclasses.replace(sample, bought=np.zeros(len(sample.bought), bool))
  for samples in ([], [nothing], [_sample(50, 'popular', 'light')]):
    assert guard.choose(samples, guard.start('blend'), 'cold') == guard.start('blend')


def test_few_users_choose_no_source_by_chance():
  """What is bought has nothing to do with blend or source: one of both is ahead, half of the time the source."""
  before = guard.start('blend')
  samples = [_sample(12, 'ranker', 'cold', seed=seed) for seed in range(60)]
  assert sum(guard.choose([sample], before, 'cold') != before for sample in samples) <= 15
