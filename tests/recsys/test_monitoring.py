"""Drift, click-through and calibration of a recommender that is served: beside what they come to by hand."""

import math

import numpy as np
import pytest
from starlette.testclient import TestClient

from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.serving import RecommendService, Services, Shop, create_app
from mlsd_jax.serving.monitoring import INPUTS, excess, psi


class Clock:
  def __init__(self, seconds: float):
    self.seconds = seconds

  def __call__(self) -> float:
    return self.seconds


@pytest.fixture
def served(shop, tmp_path):
  clock = Clock(shop.snapshot.cut + 60)
  service = RecommendService('shop', shop, shop=Shop(shop, tmp_path, wall=clock))
  with TestClient(create_app(Services(recommenders={'shop': service}))) as client:
    yield client, service, clock


def test_psi_is_its_definition():
  rng = np.random.default_rng(0)
  then, now = rng.normal(size=5000), rng.normal(0.5, 1.2, size=4000)
  bounds = np.quantile(then, np.arange(1, 10) / 10)
  expected = 0.0
  for low, high in zip([-math.inf, *bounds], [*bounds, math.inf], strict=True):
    q, p = (((x > low) & (x <= high)).mean() for x in (then, now))
    expected += (p - q) * math.log(p / q)
  assert psi(then, now) == pytest.approx(expected, rel=0.02)
  assert psi(then, then) == pytest.approx(0, abs=1e-9)
  assert psi(np.zeros(100), np.zeros(50)) == pytest.approx(0, abs=0.01)
  assert psi(then, np.full(100, 9.0)) > 1


def test_chance_alone_is_no_drift():
  """Of two samples of one population the index is chance, and what is left without its mean is near nothing."""
  rng = np.random.default_rng(0)
  whole, left = np.zeros(200), np.zeros(200)
  for trial in range(200):
    then, now = rng.normal(size=250), rng.normal(size=150)
    whole[trial], left[trial] = psi(then, now), excess(then, now, 250, 150)
  assert whole.mean() == pytest.approx(9 * (1 / 250 + 1 / 150), rel=0.15)
  assert np.mean(whole) > 4 * np.mean(left)
  assert excess(then, rng.normal(1, size=150), 250, 150) == pytest.approx(psi(then, then + 1), rel=0.4)


def _ask_all(client, shop):
  """Everybody whom the reference is of asks once; how many."""
  lately = np.flatnonzero(shop.snapshot.column('user', 'n30')[: len(shop.users)] > 0)
  for user in lately:
    client.post('/v1/recommend', json={'user': shop.users['id'][int(user)]})
  return len(lately)


def test_whom_the_build_knew_are_no_drift_in_inputs_and_scores(shop):
  """At the moment of the build: a day later the ages of all that is known are others."""
  service = RecommendService('shop', shop)
  with TestClient(create_app(Services(recommenders={'shop': service}))) as client:
    _ask_all(client, shop)
    drift = client.get('/v1/monitoring').json()['drift']
  assert set(drift) == {*INPUTS, 'score'}
  assert max(drift.values()) < 0.01


def test_drift_is_of_who_asks(served, shop):
  client, _, _ = served
  drift = lambda: client.get('/v1/monitoring').json()['drift']
  assert set(drift().values()) == {None}
  asked = _ask_all(client, shop)
  assert drift()['n'] < 0.01  # the number of purchases is no matter of days
  counts = shop.snapshot.column('user', 'n')[: len(shop.users)]
  busiest = int(np.argmax(counts))
  for _ in range(150):
    client.post('/v1/recommend', json={'user': shop.users['id'][busiest]})
  assert drift()['n'] > 0.25
  for number in range(50):
    client.post('/v1/recommend', json={'user': f'nobody {number}'})
  assert client.get('/v1/monitoring').json()['unknown_users'] == pytest.approx(50 / (asked + 200))
  assert f'mlsd_drift_psi{{model="shop",what="n"}} {drift()["n"]}' in client.get('/metrics').text


def test_clicks_and_purchases_are_credited_and_chances_compared(served, shop):
  client, _, clock = served
  one, other, idle = shop.users['id'][:3]
  answers = {user: client.post('/v1/recommend', json={'user': user, 'number': 4}).json() for user in (one, other, idle)}
  items = lambda user: [each['id'] for each in answers[user]['items']]
  unseen = next(id_ for id_ in shop.items['id'] if id_ not in items(other))
  post = lambda user, item, **fields: client.post('/v1/events', json={'user': user, 'item': item, **fields})
  clock.seconds += 100
  post(one, items(one)[0], kind='click')
  post(one, items(one)[0], kind='click')  # the same again
  post(one, items(one)[1])
  post(one, items(one)[1])
  post(other, unseen, kind='click', answer='of another time')
  post(other, items(other)[2], answer=answers[other]['answer'])
  post(idle, items(idle)[0], kind='impression')
  clock.seconds += 8 * DAY
  post(idle, items(idle)[0])  # too late
  figures = client.get('/v1/monitoring').json()
  assert figures['answers'] == 3
  assert figures['events'] == {'purchase': 4, 'click': 3, 'impression': 1}
  assert figures['conversion'] == pytest.approx(2 / 12)
  assert figures['ctr'] == pytest.approx(1 / 12)
  chances = [each['probability'] for user in (one, other) for each in answers[user]['items']]
  told = figures['calibration']
  assert told['shown'] == 8
  assert told['predicted'] == pytest.approx(np.mean(chances))
  assert told['bought'] == pytest.approx(2 / 8)
  assert told['ratio'] == pytest.approx(2 / np.sum(chances))
  assert sum(each['shown'] for each in told['bins']) == 8
  assert 'mlsd_calibration_ratio{model="shop"}' in client.get('/metrics').text
