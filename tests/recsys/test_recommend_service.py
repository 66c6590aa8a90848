"""Recommendations behind a server: those of `recommend`, whoever else asks at the same time."""

import asyncio

import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import serving
from mlsd_jax.serving import RecommendService


def ask(service, *requests):
  """The answers to requests (user, options) made at once."""

  async def run():
    return await asyncio.gather(*(service.recommend(user, **options) for user, options in requests))

  return asyncio.run(run())


def test_many_users_at_once_get_what_each_gets_alone(state):
  users = [0, 5, 17, len(state.users)]
  ids = [state.users['id'][user] if user < len(state.users) else 'nobody' for user in users]
  few = state.items['id'][:40].to_list()
  answers = ask(RecommendService('r', state), *((id_, {}) for id_ in ids), (ids[0], {'number': 3, 'in_stock': few}))
  for user, answer in zip(users, answers[:4], strict=True):
    alone = serving.recommend(state, np.array([user]))
    assert [item['id'] for item in answer['items']] == state.items['id'][alone.items[0]].to_list()
    np.testing.assert_allclose([item['probability'] for item in answer['items']], alone.probability[0], rtol=1e-4)
    assert answer['known'] == (user < len(state.users))
    assert all(item['why'] for item in answer['items'])
  assert len(answers[4]['items']) == 3
  assert {item['id'] for item in answers[4]['items']} <= set(few)


def test_history_is_the_latest_first_and_unknown_items_are_refused(state):
  service = RecommendService('r', state)
  user = state.users['id'][3]
  days = [item['days_ago'] for item in service.history(user)]
  assert days == sorted(days)
  assert service.history('nobody') == []
  with pytest.raises(UserError, match=r"no item has the id 'x' \(one of 2"):
    ask(service, (user, {'in_stock': ['x', 'y']}))
