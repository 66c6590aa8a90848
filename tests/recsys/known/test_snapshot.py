"""Snapshots: nothing from the cut on is seen, and what is counted is what a loop counts."""

import dataclasses
import gc
import weakref

import numpy as np
import polars as pl
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.known.snapshot import AFFINITY, ITEM, NEVER, PAIR, USER
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.events import DAY, make_dataset
from mlsd_jax.recsys.stages import candidates, features


@pytest.fixture(scope='module')
def cut(made):
  return weeks.list_cuts(made.dataset, 2)[1]


def _changed_after(dataset, cut):
  """The same history with another future: other users, items, prices and times from the cut on."""
  rng = np.random.default_rng(5)
  future = dataset.events.filter(pl.col('time') >= cut)
  number = future.height
  future = future.with_columns(
    user=pl.Series(rng.integers(0, dataset.num_users, number).astype(np.int32)),
    item=pl.Series(rng.integers(0, dataset.num_items, number).astype(np.int32)),
    price=pl.Series(rng.random(number).astype(np.float32)),
    time=pl.Series(cut + rng.integers(0, 40 * DAY, number)),
  )
  return dataclasses.replace(dataset, events=pl.concat([dataset.before(cut), future]).sort('time', 'user', 'item'))


def test_no_feature_sees_past_its_cut(made, cut):
  data, other = made.dataset, _changed_after(made.dataset, cut)
  assert not data.events.equals(other.events)
  users = np.arange(data.num_users, dtype=np.int32)
  found = []
  for each in (data, other):
    state = snapshot.take(each, cut)
    union = candidates.collect(state, users, candidates.SOURCES, 30)
    found.append((state, union, features.compute(state, union)))
  (state, union, dense), (state_, union_, dense_) = found
  for name, array in state.arrays.items():
    np.testing.assert_array_equal(array, state_.arrays[name], err_msg=name)
  np.testing.assert_array_equal(union.item, union_.item)
  np.testing.assert_array_equal(union.score, union_.score)
  np.testing.assert_array_equal(dense, dense_)


def test_unknown_prices_do_not_count():
  day = 20 * DAY
  rows = {'user_id': list('aaab'), 'item_id': list('xxyx'), 'time': [0, DAY, DAY, day], 'price': [10.0, 0.0, 0.0, 14.0]}
  state = snapshot.take(make_dataset('shop', pl.DataFrame(rows)), day + 1)
  price = lambda table: state[table][:, {'item': ITEM, 'user': USER, 'affinity_0': AFFINITY}[table].index('price')]
  assert price('item').tolist() == [12.0, 0.0]
  assert state.column('item', 'price7').tolist() == [14.0, 0.0]
  assert price('user').tolist() == [10.0, 14.0, 0.0]
  assert state.column('user', 'spread').tolist() == [0.0, 0.0, 0.0]
  assert price('affinity_0').tolist() == [10.0, 14.0]


def test_counts_are_those_of_a_loop(made, cut):
  state = snapshot.take(made.dataset, cut)
  rows = [row for row in made.dataset.events.iter_rows(named=True) if row['time'] < cut]
  rng = np.random.default_rng(0)
  for row in rng.choice(len(rows), 20, replace=False):
    user, item = rows[row]['user'], rows[row]['item']
    mine = [r for r in rows if r['user'] == user]
    both = [r for r in mine if r['item'] == item]
    pair = state['pair'][np.searchsorted(state['pair_key'], user * made.dataset.num_items + item)]
    ages = [(cut - r['time']) / DAY for r in both]
    assert pair[PAIR.index('n')] == len(both)
    assert pair[PAIR.index('n30')] == sum(age <= 30 for age in ages)
    assert pair[PAIR.index('since')] == pytest.approx(min(ages), rel=1e-5)
    assert pair[PAIR.index('first')] == pytest.approx(max(ages), rel=1e-5)
    assert pair[PAIR.index('decayed')] == pytest.approx(sum(0.5 ** (age / snapshot.HALF) for age in ages), rel=1e-4)
    trips = sorted({r['time'] // DAY for r in mine})
    place = [trips.index(r['time'] // DAY) for r in both]
    assert pair[PAIR.index('trips_since')] == len(trips) - 1 - max(place)
    assert pair[PAIR.index('trips')] == len(trips) - min(place)
    assert pair[PAIR.index('trips5')] == len({each for each in place if each >= len(trips) - 5})
    assert state['user'][user, USER.index('n')] == len(mine)
    assert state['user'][user, USER.index('items')] == len({r['item'] for r in mine})
    assert state['item'][item, ITEM.index('buyers')] == len({r['user'] for r in rows if r['item'] == item})


def test_who_is_not_known_has_nothing(made, cut):
  state = snapshot.take(made.dataset, cut)
  nobody = made.dataset.num_users
  assert state['user'].shape[0] == nobody + 1
  assert state['user'][nobody, USER.index('n')] == 0
  assert state['user'][nobody, USER.index('since')] == NEVER
  assert (state['recent'][nobody] == -1).all()


def test_recent_items_are_distinct_and_latest_first(made, cut):
  state = snapshot.take(made.dataset, cut)
  for user in range(20):
    items = state['recent'][user]
    items = items[items >= 0]
    assert len(set(items.tolist())) == len(items)
    assert (np.diff(state['recent_age'][user][: len(items)]) >= 0).all()


def test_saved_and_loaded_is_the_same(made, cut, tmp_path):
  state = snapshot.take(made.dataset, cut)
  snapshot.save(state, tmp_path)
  again = snapshot.load(tmp_path)
  assert (again.cut, again.num_users, again.categories) == (state.cut, state.num_users, state.categories)
  for name, array in state.arrays.items():
    np.testing.assert_array_equal(array, again[name])
  (tmp_path / 'snapshot.json').unlink()
  with pytest.raises(UserError, match='holds no snapshot'):
    snapshot.load(tmp_path)


def test_before_the_first_event_there_is_nothing(made):
  with pytest.raises(UserError, match='no event before the cut'):
    snapshot.take(made.dataset, int(made.dataset.events['time'][0]))


def test_lookup_in_an_empty_table():
  found = snapshot.look_up(np.zeros(0, np.int64), np.zeros((0, 2)), np.array([3, 4]), np.array([1.0, 2.0]))
  assert found.tolist() == [[1.0, 2.0], [1.0, 2.0]]


def test_what_is_derived_goes_with_its_snapshot(made):
  taken = snapshot.take(made.dataset, weeks.list_cuts(made.dataset, 1)[0])
  calls = []
  counted = snapshot.once(lambda taken, k: calls.append(k) or k)
  assert [counted(taken, 1), counted(taken, 1), counted(taken, 2)] == [1, 1, 2]
  assert calls == [1, 2]
  gone = weakref.ref(taken)
  del taken
  gc.collect()
  assert gone() is None
