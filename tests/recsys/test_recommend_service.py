"""Recommendations behind a server: those of `recommend`, whoever else asks at the same time."""

import asyncio
import datetime

import numpy as np
import pytest
from starlette.testclient import TestClient

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import serving
from mlsd_jax.serving import RecommendService, Services, create_app


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


def test_users_are_found_and_shown_with_their_history(state):
  with TestClient(create_app(Services(recommenders={'shop': RecommendService('shop', state)}))) as client:
    few = client.get('/v1/users', params={'query': '12', 'limit': 5}).json()['users']
    assert 0 < len(few) <= 5
    assert all('12' in each['id'] for each in few)
    everyone = client.get('/v1/users', params={'limit': 1000}).json()['users']
    assert [each['id'] for each in everyone] == state.users['id'].to_list()
    assert sum(each['purchases'] for each in everyone) == len(state.histories.item)
    busiest = max(everyone, key=lambda each: each['purchases'])
    shown = client.get(f'/v1/users/{busiest["id"]}', params={'limit': 1000}).json()
    assert shown['known']
    assert len(shown['history']) == busiest['purchases']
    times = [datetime.datetime.fromisoformat(each['time']).timestamp() for each in shown['history']]
    assert times == sorted(times, reverse=True)
    row = state.users['id'].to_list().index(busiest['id'])
    past = state.histories
    bought = past.item[past.start[row] : past.start[row + 1]][::-1] - 1
    assert [each['item'] for each in shown['history']] == state.items['id'][bought].to_list()
    assert client.get('/v1/users/a/b').json() == {'id': 'a/b', 'known': False, 'history': []}
    assert client.get('/v1/users', params={'limit': 0}).status_code == 400
