"""What is shown by rules, and the log of it, from which another policy's value is estimated."""

import json

import numpy as np
import polars as pl
import pytest
from starlette.testclient import TestClient

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.judging import logged, off_policy
from mlsd_jax.serving import AnswerLog, RecommendService, Services, Shop, create_app, rules
from mlsd_jax.serving.answers import SCHEMA
from mlsd_jax.serving.rules import Rules

NEW = ['n0', 'n1', 'n2']


@pytest.fixture(scope='module')
def served(shop, tmp_path_factory):
  """A client, its service and the folder of its answers; three items are new."""
  folder = tmp_path_factory.mktemp('state')
  opened = Shop(shop, folder, wall=lambda: shop.snapshot.cut + 3600)
  service = RecommendService('shop', shop, shop=opened, answers=AnswerLog(folder / 'answers'))
  with TestClient(create_app(Services(recommenders={'shop': service}))) as client:
    client.post('/v1/items', json={'items': [{'id': id_} for id_ in NEW]})
    yield client, service, folder / 'answers'


def ask(client, user, **fields):
  answer = client.post('/v1/recommend', json={'user': user, **fields})
  assert answer.status_code == 200, answer.text
  return answer.json()['items']


def test_rules_of_a_request(served, shop):
  client, _, _ = served
  user = shop.users['id'][2]
  ids = lambda **fields: [each['id'] for each in ask(client, user, **fields)]
  plain = ids()
  assert ids(diversity=0.0) == plain
  assert not set(plain[:3]) & set(ids(blocked=plain[:3]))
  assert ids(pinned=[plain[5], 'n1']) == [plain[5], 'n1', *[id_ for id_ in plain if id_ != plain[5]][:10]]
  assert ids(pinned=['n1'], blocked=['n1'])[0] == plain[0]
  category = ask(client, user)[0]['category']
  few = ask(client, user, at_most={category: 1, '*': 2}, number=20)
  counts = pl.Series([each['category'] for each in few]).value_counts()
  assert dict(counts.iter_rows())[category] == 1
  assert counts['count'].max() <= 2
  assert len(set(ids(diversity=0.9)) - set(plain)) > 0
  assert set(ids(explore=1.0)[:3]) == set(NEW)
  assert all(0 < each['probability'] < 1 and each['why'] for each in ask(client, user, explore=1.0))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'pinned': ['x']}, "pinned: no item has the id 'x' (one of 1"),
    ({'blocked': ['x', 'y']}, "blocked: no item has the id 'x' (one of 2"),
    ({'at_most': {'wine': 1}}, "at_most: no item is of the category 'wine'"),
    ({'diversity': 1.5}, 'diversity'),
  ],
)
def test_rules_of_what_is_not_there_are_one_line(served, shop, fields, message):
  client, _, _ = served
  answer = client.post('/v1/recommend', json={'user': 'u', **fields})
  assert answer.status_code == 400
  assert message in answer.json()['error']['message']


def test_a_file_of_rules(served, shop, tmp_path):
  _, service, _ = served
  path, views = tmp_path / 'rules.json', {'shop': service.view}

  def read(content):
    path.write_text(json.dumps(content))
    return rules.read(path, views)

  first = shop.items['id'][0]
  assert read({'shop': {'blocked': [first], 'diversity': 0.5}}) == {'shop': Rules(blocked=(first,), diversity=0.5)}
  for content, message in [
    ({'other': {}}, "'other' is no recommender that is served; there are shop"),
    ({'shop': {'block': []}}, "no key 'block'"),
    ({'shop': {'pinned': ['x']}}, "pinned: no item has the id 'x'"),
    ({'shop': {'diversity': 2}}, 'diversity must be at least 0 and at most 1'),
    ([], 'not an object'),
  ]:
    with pytest.raises(UserError, match=message):
      read(content)
  path.write_text('{"shop": {}, "shop": {"diversity": 0.5}}')
  with pytest.raises(UserError, match="the key 'shop' is there twice"):
    rules.read(path, views)
  base = Rules(in_stock=('a', 'b'), blocked=('c',), exclude_bought=True)
  asked = base.of_request({'in_stock': ['b', 'z'], 'blocked': ['d'], 'exclude_bought': False})
  assert asked == Rules(in_stock=('b',), blocked=('c', 'd'), exclude_bought=True)


def test_another_policy_is_evaluated_from_the_log(shop, tmp_path, check_flips):
  """Users buy what is new with a chance of its own, anything else hardly: what exploring always is worth is known."""
  chances = {'n0': 0.2, 'n1': 0.5, 'n2': 0.8}
  rng = np.random.default_rng(0)
  opened = Shop(shop, tmp_path, wall=lambda: shop.snapshot.cut + 3600)
  service = RecommendService('shop', shop, shop=opened, answers=AnswerLog(tmp_path / 'answers'))
  purchases = []
  with TestClient(create_app(Services(recommenders={'shop': service}))) as client:
    client.post('/v1/items', json={'items': [{'id': id_} for id_ in NEW]})
    for number in range(300):
      (shown,) = ask(client, f'u{number}', number=1, explore=0.4)
      if rng.random() < chances.get(shown['id'], 0.05):
        purchases.append({'user': f'u{number}', 'item': shown['id'], 'time': opened.now() + 60})
  parts = sorted((tmp_path / 'answers').iterdir())
  assert [path.name for path in parts[1:]] == [f'{parts[0].name}.sha256.json']
  table = pl.read_parquet(parts[0])
  assert table.schema == SCHEMA
  assert table.height == 300
  assert json.loads(table['rules'][0])['explore'] == 0.4
  log = logged.read(tmp_path / 'answers', pl.DataFrame(purchases))
  assert len(log.action) == 300
  for explore, truth in ((0.0, 0.05), (0.4, 0.6 * 0.05 + 0.4 * 0.5), (1.0, 0.5)):
    target = log.policy(explore)
    np.testing.assert_allclose(target.sum(1), 1)
    for estimate in (off_policy.ips, off_policy.snips):
      value = estimate(log.action, log.reward, log.propensity, target)
      assert abs(value.mean - truth) < 4 * value.error
  check_flips(tmp_path / 'answers', lambda: logged.read(tmp_path / 'answers', pl.DataFrame(purchases)).action.tolist())
  with pytest.raises(UserError, match='holds no logged answers'):
    logged.read(tmp_path, pl.DataFrame(purchases))
