"""A shop that is served: what is acknowledged is in the log, and counted at once; the log is all it needs."""

import asyncio
import dataclasses
import datetime
import shutil

import numpy as np
import pytest
from starlette.testclient import TestClient

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.live import live_state
from mlsd_jax.recsys.purchases.events import DAY
from mlsd_jax.serving import RecommendService, Services, Shop, create_app


class Clock:
  """A wall clock that is set by hand."""

  def __init__(self, seconds: float):
    self.seconds = seconds

  def __call__(self) -> float:
    return self.seconds


@pytest.fixture
def clock(shop):
  return Clock(shop.snapshot.cut + 3600)


@pytest.fixture
def served(shop, clock, tmp_path):
  """A client, and the shop behind it."""
  opened = Shop(shop, tmp_path / 'state', wall=clock)
  services = Services(recommenders={'shop': RecommendService('shop', shop, shop=opened)})
  with TestClient(create_app(services)) as client:
    yield client, opened


def recommend(client, user, **options):
  return [each['id'] for each in client.post('/v1/recommend', json={'user': user, **options}).json()['items']]


def test_a_purchase_is_in_the_next_answer(served, shop, clock):
  client, _ = served
  user = shop.users['id'][7]
  item = recommend(client, user, exclude_bought=True)[0]
  said = client.post('/v1/events', json={'user': user, 'item': item, 'kind': 'purchase'}).json()
  assert said['accepted'] == len(said['ids']) == 1
  assert item not in recommend(client, user, exclude_bought=True)
  history = client.get(f'/v1/users/{user}').json()['history']
  assert history[0]['item'] == item
  assert datetime.datetime.fromisoformat(history[0]['time']).timestamp() == clock.seconds


def test_whoever_buys_becomes_a_user(served, shop):
  client, _ = served
  assert not client.get('/v1/users/Zoë').json()['known']
  client.post('/v1/events', json=[{'user': 'Zoë', 'item': item} for item in shop.items['id'][:3]])
  assert client.get('/v1/users', params={'query': 'Zo'}).json()['users'] == [{'id': 'Zoë', 'purchases': 3}]
  assert client.post('/v1/recommend', json={'user': 'Zoë'}).json()['known']
  assert client.get('/v1/users', params={'limit': 1000}).json()['users'][0]['id'] == shop.users['id'][0]


def test_a_repeated_id_counts_once(served, shop):
  client, _ = served
  event = {'user': shop.users['id'][0], 'item': shop.items['id'][0], 'id': 'order 17'}
  purchases = lambda: client.get('/v1/users', params={'query': event['user'], 'limit': 1}).json()['users'][0]
  before = purchases()['purchases']
  said = [client.post('/v1/events', json=body).json() for body in (event, event, [event, event, {**event, 'id': '2'}])]
  assert [each['repeated'] for each in said] == [0, 1, 2]
  assert [each['accepted'] for each in said] == [1, 1, 3]
  assert purchases()['purchases'] == before + 2


def test_late_events_count_at_their_own_time_and_kinds_but_purchases_do_not(served, shop):
  client, _ = served
  user, cut = shop.users['id'][9], shop.snapshot.cut
  moment = datetime.datetime.fromtimestamp(cut - 40 * DAY, datetime.timezone(datetime.timedelta(hours=2)))
  item = lambda number: shop.items['id'][number]
  client.post('/v1/events', json={'user': user, 'item': item(1), 'time': cut + 60})
  client.post('/v1/events', json={'user': user, 'item': item(2), 'time': moment.isoformat()})
  client.post('/v1/events', json={'user': user, 'item': item(3), 'kind': 'click'})
  history = client.get(f'/v1/users/{user}', params={'limit': 1000}).json()['history']
  assert history[0]['item'] == item(1)
  assert [each['time'] for each in history] == sorted((each['time'] for each in history), reverse=True)
  late = next(each for each in history if each['item'] == item(2) and each['time'] == _iso(cut - 40 * DAY))
  assert late != history[0]
  assert not any(each['item'] == item(3) and each['time'] > _iso(cut) for each in history)


def _iso(seconds: int) -> str:
  return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def test_a_new_item_is_recommendable_by_its_columns(served, shop, clock, tmp_path):
  client, opened = served
  like = shop.purchases.items.row(17, named=True)
  item = {name: str(value) for name, value in like.items()} | {'id': 'fresh', 'name': 'Fresh bread'}
  assert client.post('/v1/items', json={'items': [item, item]}).json() == {'accepted': 2, 'repeated': 1}
  said = client.post('/v1/recommend', json={'user': shop.users['id'][3], 'in_stock': ['fresh', shop.items['id'][0]]})
  assert {each['id'] for each in said.json()['items']} == {'fresh', shop.items['id'][0]}
  retriever = opened.view.state.funnel.retriever
  row = opened.view.items['fresh']
  # The deep part is that of the same columns without a row of its own, which no item of the build has.
  deep = retriever.config.embed_dim
  params = retriever.params
  expected = np.asarray(params['item_table'])[0] + sum(
    np.asarray(table)[code] for table, code in zip(
      [params['code_tables'][column] for column in sorted(params['code_tables'], key=int)], retriever.data.codes[18],
      strict=True)
  )  # fmt: skip
  hidden = np.maximum(expected @ params['item_mlp']['up']['kernel'] + params['item_mlp']['up']['bias'], 0)
  expected = expected + hidden @ params['item_mlp']['down']['kernel'] + params['item_mlp']['down']['bias']
  np.testing.assert_allclose(retriever.items[row][:deep], expected, rtol=1e-4, atol=1e-5)
  for each in range(3):
    client.post('/v1/events', json={'user': shop.users['id'][each], 'item': 'fresh'})
  assert opened.view.state.snapshot.column('item', 'n')[row] == 3
  (tmp_path / 'after').mkdir()
  shutil.copy(tmp_path / 'state' / 'events.log', tmp_path / 'after')
  again = Shop(shop, tmp_path / 'after', wall=clock)
  assert again.view.items['fresh'] == row
  assert again.view.state.snapshot.column('item', 'n')[row] == 3
  again.close()
  answer = client.post('/v1/items', json={'items': [{'id': 'y', 'colour': 'red'}]})
  assert answer.status_code == 400
  assert "'colour' is no column of the items; there are id, name" in answer.json()['error']['message']


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'item': 'x'}, "no item has the id 'x'"),
    ({'time': '2019-01-01T00:00:00'}, 'has no zone'),
    ({'time': 'yesterday'}, 'neither ISO 8601 nor seconds'),
    ({'time': -1}, 'not between 1970'),
    ({'time': 1e300}, 'not between 1970'),
    ({'time': '2100-01-01T00:00:00Z'}, 'still to come'),
    ({'kind': 'gift'}, 'kind'),
    ({'user': ''}, 'user'),
    ({'price': -1}, 'price'),
    ({'itm': 'x'}, 'itm'),
  ],
)
def test_what_is_no_event_is_refused_whole(served, shop, change, message):
  client, opened = served
  good = {'user': shop.users['id'][0], 'item': shop.items['id'][0]}
  before = opened.view
  answer = client.post('/v1/events', json=[good, good | change])
  assert answer.status_code == 400
  assert message in answer.json()['error']['message']
  assert opened.view.state is before.state


def test_killed_it_is_what_its_log_says(served, shop, clock, tmp_path):
  """The folder as a kill leaves it: no lock, a log that ends in half a record."""
  client, _ = served
  users = [*shop.users['id'][:4], 'new']
  for number, user in enumerate(users * 2):
    client.post('/v1/events', json={'user': user, 'item': shop.items['id'][number], 'id': str(number)})
  (tmp_path / 'after').mkdir()
  shutil.copy(tmp_path / 'state' / 'events.log', tmp_path / 'after')
  with open(tmp_path / 'after' / 'events.log', 'ab') as log:
    log.write(b'SHOP\x99\0\0')
  again = Shop(shop, tmp_path / 'after', wall=clock)
  assert again.torn == 7
  other = Services(recommenders={'shop': RecommendService('shop', shop, shop=again)})
  with TestClient(create_app(other)) as second:
    for user in users:
      path = f'/v1/users/{user}?limit=1000'
      assert second.get(path).json() == client.get(path).json()
    assert second.post('/v1/events', json={'user': 'a', 'item': shop.items['id'][0], 'id': '3'}).json()['repeated'] == 1
  with pytest.raises(UserError, match='is being written by process'):
    Shop(shop, tmp_path / 'state', wall=clock)


def test_the_calendar_goes_on(served, shop, clock):
  client, opened = served
  user, item = shop.users['id'][7], shop.items['id'][5]
  clock.seconds += 3 * DAY
  client.post('/v1/events', json={'user': user, 'item': item})
  assert opened.view.state.snapshot.cut == shop.snapshot.cut + 4 * DAY
  row = opened.view.row(user)
  assert opened.view.state.snapshot['recent'][row, 0] == opened.view.items[item]
  np.testing.assert_allclose(opened.view.state.snapshot['recent_age'][row, 0], 23 / 24, rtol=1e-3)


def test_a_shop_of_long_ago_goes_on_from_its_last_purchase(shop, tmp_path):
  cut = shop.snapshot.cut
  clock = Clock(cut + 900 * DAY)
  old = Shop(shop, tmp_path, wall=clock)
  assert old.now() == cut
  old.close()
  clock.seconds += DAY
  old = Shop(shop, tmp_path, wall=clock)
  assert old.now() == cut + DAY
  old.close()


def test_a_build_counts_no_purchase_twice(shop, clock, tmp_path):
  """A newer build has the purchases of before it among its own; what came after it was served counts besides."""
  cut = shop.snapshot.cut
  first = Shop(shop, tmp_path, wall=clock)
  post = lambda opened, moment: asyncio.run(opened.post([opened.make_event('u', shop.items['id'][0], moment)]))
  post(first, cut + 100)
  first.close()
  newer = dataclasses.replace(shop, purchases=first._live.dataset(), version='2')
  newer = live_state.rebuild(newer, newer.purchases, cut + 200)
  second = Shop(newer, tmp_path, wall=clock)
  bought = lambda opened: int(opened.view.state.snapshot.column('user', 'n')[opened.view.row('u')])
  assert bought(second) == 1
  post(second, cut + 150)
  assert bought(second) == 2
  second.close()
  third = Shop(newer, tmp_path, wall=clock)
  assert bought(third) == 2
  third.close()


def test_what_two_builds_have_taken_in_leaves_the_log_and_its_ids_stay(shop, clock, tmp_path):
  """Counts are those of a log that is never compacted, whichever of the two builds is served, and killed in between."""
  cut = shop.snapshot.cut
  users, items = shop.users['id'].to_list(), shop.items['id'].to_list()
  folders = {'compacted': 5, 'whole': 10**9}

  def post(opened, numbers, moment):
    made = [opened.make_event(users[n % 9], items[n % 7], moment + n, id=f'{n}') for n in numbers]
    return asyncio.run(opened.post(made))

  def counts(opened):
    return opened.view.state.snapshot.column('item', 'n'), opened.view.state.snapshot.column('user', 'n')

  def newer(state, opened, version, at):
    built = dataclasses.replace(state, purchases=opened._live.dataset(), version=version)
    return live_state.rebuild(built, built.purchases, at)

  sizes, found = {}, {}
  for name, compact in folders.items():
    folder = tmp_path / name
    first = Shop(shop, folder, wall=clock, compact=compact)
    post(first, range(20), cut + 100)
    second = newer(shop, first, '2', cut + 200)
    first.replace(second)
    assert post(first, range(20, 24), cut + 210) == 4
    before = (folder / 'events.log').stat().st_size
    first.replace(shop)  # put back: the first build has none of them
    found[name, 'back'] = counts(first)
    first.replace(second)
    third = newer(second, first, '3', cut + 300)
    first.replace(third)
    (folder / 'events.log.new').write_bytes(b'half')  # as a kill in the middle of a compaction leaves it
    sizes[name] = (folder / 'events.log').stat().st_size / before
    assert post(first, range(22, 28), cut + 310) == 4  # 22 and 23 are known
    assert post(first, range(3), cut + 100) == 0
    first.replace(second)  # which has the first twenty, and counts those that came after it
    found[name, 'second'] = counts(first)
    first.close()
    again = Shop(third, folder, wall=clock, compact=compact)
    found[name, 'again'] = counts(again)
    assert post(again, range(28), cut + 100) == 0
    again.close()
  for state in ('back', 'second', 'again'):
    for one, other in zip(found['compacted', state], found['whole', state], strict=True):
      np.testing.assert_array_equal(one, other)
  assert sizes['compacted'] < 0.5 < 1 < sizes['whole']
