"""Purchases that come: the state is that of a batch of all purchases."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import serving
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.live import LiveState, Purchase, live_state
from mlsd_jax.recsys.purchases.events import DAY, make_dataset

OF_ROWS = ('user', 'place', 'recent', 'recent_age')


def purchases_of(shop, number: int, seed: int = 0) -> list[Purchase]:
  """Of users that there are and some that there are not; of today and of long ago, in no order."""
  rng = np.random.default_rng(seed)
  users = [*shop.users['id'].gather(rng.integers(0, len(shop.users), 6)), 'new one', 'another']
  cut = shop.snapshot.cut
  return [
    Purchase(
      user=str(rng.choice(users)),
      item=shop.items['id'][int(rng.integers(0, len(shop.items)))],
      time=int(cut - 1 - rng.choice([rng.integers(0, DAY), rng.integers(0, 70 * DAY)])),
      price=float(rng.choice([0.0, 3.5, 8.0])),
      quantity=float(rng.integers(1, 4)),
    )
    for _ in range(number)
  ]


def batch(shop, live: LiveState):
  """The state of a build of the same purchases, which reads a table of them: ids, times, prices."""
  old = shop.purchases
  known = live.dataset()
  named = known.events.select(
    user_id=known.users['id'].gather(known.events['user']),
    item_id=known.items['id'].gather(known.events['item']),
    time='time',
    price='price',
    quantity='quantity',
    place='place',
  )
  read = make_dataset('shop', named.sample(fraction=1.0, shuffle=True, seed=0), known.users, known.items,
                      categories=old.categories)  # fmt: skip
  read = dataclasses.replace(read, events=read.events.with_columns(place=pl.col('place').cast(pl.Int32)))
  return live_state.rebuild(shop, read, shop.snapshot.cut)


def assert_same_answers(live, row, other, user):
  for options in ({}, {'exclude_bought': True}):
    got = serving.recommend(live, np.array([row]), 20, **options)
    want = serving.recommend(other, np.array([user]), 20, **options)
    np.testing.assert_array_equal(got.candidates.item, want.candidates.item)
    np.testing.assert_allclose(got.candidates.score, want.candidates.score, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(got.probability, want.probability, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope='module')
def posted(shop):
  """A live state after purchases one at a time, some at once; and a batch of the same."""
  live = LiveState(shop)
  every = purchases_of(shop, 40)
  for each in every[:20]:
    live.add([each])
  live.add(every[20:])
  return live, batch(shop, live)


def test_what_is_known_of_users_is_that_of_a_batch(shop, posted):
  live, other = posted
  view, known, want = live.view, live.view.state.snapshot, other.snapshot
  number = known.num_items
  assert other.users['id'].to_list()[:-2] == shop.users['id'].to_list()  # ids are stable
  for user, id_ in enumerate(other.users['id']):
    row = view.row(id_)
    for name in OF_ROWS:
      np.testing.assert_allclose(known[name][row], want[name][user], rtol=1e-5, atol=1e-5, err_msg=f'{name} of {id_}')
    items = [
      taken['pair_key'][slice(*(int(bound[0]) for bound in taken.pairs_of(np.array([of]))))] % number
      for taken, of in ((known, row), (want, user))
    ]
    np.testing.assert_array_equal(*items)
    rows = [taken.pair_rows(np.full(number, of), np.arange(number)) for taken, of in ((known, row), (want, user))]
    np.testing.assert_allclose(*rows, rtol=1e-5, atol=1e-5)
    for level in range(len(known.categories)):
      rows = [taken.affinity_rows(level, np.full(number, of), np.arange(number))
              for taken, of in ((known, row), (want, user))]  # fmt: skip
      np.testing.assert_allclose(*rows, rtol=1e-5, atol=1e-5)
    bought = [past.item[past.start[of] : past.start[of + 1]]
              for past, of in ((view.state.histories, row), (other.histories, user))]  # fmt: skip
    np.testing.assert_array_equal(*bought)


def test_what_is_known_of_items_is_that_of_a_batch(posted):
  live, other = posted
  known, want = live.view.state.snapshot, other.snapshot
  for name in ('item', 'place_key', 'place_count'):
    np.testing.assert_allclose(known[name], want[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_companions_of_a_basket_are_those_of_a_batch(shop):
  """Of whatever lies in a basket that changed; those of other items wait until the state is taken anew."""
  live, day = LiveState(shop), shop.snapshot.cut - DAY
  user, other = shop.users['id'][5], shop.users['id'][6]
  live.add([Purchase(user, shop.items['id'][item], day + item) for item in (2, 9)])
  basket = (2, 9, 40, 41, 55)
  live.add([Purchase(each, shop.items['id'][item], day + item) for each in (user, other) for item in basket])
  want, known = snapshot.take(live.dataset(), live.cut), live.view.state.snapshot
  for item in basket:
    rows = []
    for taken in (known, want):
      part = slice(*taken['covisit_start'][item : item + 2])
      rows.append(dict(zip(taken['covisit_item'][part].tolist(), taken['covisit_score'][part], strict=True)))
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)
    assert set(basket) - {item} <= set(rows[0])


def test_answers_are_those_of_a_batch(posted):
  """With what waits for the next time given to both: rates of reordering, companions of other items."""
  live, other = posted
  view = live.view
  known = view.state.snapshot
  waits = {name: value for name, value in known.arrays.items() if name.startswith(('covisit', 'reorder'))}
  users = [view.row(id_) for id_ in other.users['id']] + [len(live._built.users)]
  waits['reorder_user'] = known['reorder_user'][users]
  other = dataclasses.replace(
    other, snapshot=dataclasses.replace(other.snapshot, arrays=dict(other.snapshot.arrays) | waits, derived={})
  )
  touched = {each.user for each in purchases_of(live._built, 40)}
  for user, id_ in enumerate(other.users['id']):
    if id_ in touched or user % 60 == 0:
      assert_same_answers(view.state, view.row(id_), other, user)
  assert_same_answers(view.state, len(live._built.users), other, len(other.users))


def test_taken_anew_it_is_a_batch_whole(shop, posted):
  live = LiveState(shop)
  live.add(purchases_of(shop, 10))
  live.retake(shop.snapshot.cut + DAY)
  want = snapshot.take(live.dataset(), shop.snapshot.cut + DAY)
  for name, values in want.arrays.items():
    np.testing.assert_array_equal(live.view.state.snapshot[name], values)
  live.add([Purchase('new one', shop.items['id'][3], shop.snapshot.cut + 5)])
  row = live.view.row('new one')
  assert live.view.state.snapshot['recent'][row, 0] == 3


def test_a_purchase_is_in_the_next_answer(shop):
  live = LiveState(shop)
  user = shop.users['id'][4]
  before = serving.recommend(live.view.state, np.array([live.view.row(user)]), exclude_bought=True)
  item = int(before.items[0, 0])
  vector = lambda: live.view.state.funnel.retriever.users(
    live.view.state.histories, np.array([live.view.row(user)]), live.cut
  )
  old = vector()
  live.add([Purchase(user, shop.items['id'][item], live.cut - 1)])
  after = serving.recommend(live.view.state, np.array([live.view.row(user)]), exclude_bought=True)
  assert item not in after.items
  assert np.abs(vector() - old).max() > 1e-4
  assert live.view.state.snapshot['recent'][live.view.row(user), 0] == item


def test_what_cannot_be_counted_is_one_line(shop):
  live = LiveState(shop)
  with pytest.raises(UserError, match="no item has the id 'x'"):
    live.add([Purchase('u', 'x', live.cut - 1)])
  with pytest.raises(UserError, match='not before'):
    live.add([Purchase('u', shop.items['id'][0], live.cut)])
  with pytest.raises(UserError, match='earlier release'):
    LiveState(dataclasses.replace(shop, purchases=None))
