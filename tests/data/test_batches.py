"""Batches follow from their number: any start, any rows, one epoch after the other; padding weighs nothing."""

import itertools

import chex
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.data.batches import BatchList, Stream, drawn, padded, shuffled, slices
from mlsd_jax.errors import UserError

sizes = dict(count=st.integers(1, 40), batch_size=st.integers(1, 50), seed=st.integers(0, 2**32 - 1))
ORDERS = pytest.mark.parametrize('order', [shuffled, drawn, slices])


def numbered(count):
  return {'id': np.arange(count, dtype=np.int32), 'square': np.arange(count)[:, None] ** 2.0}


def take(stream, number, start=0, rows=slice(None)):
  return list(itertools.islice(stream.batches(start, rows), number))


@ORDERS
@given(**sizes, start=st.integers(0, 300), step=st.integers(1, 4), first=st.integers(0, 3))
def test_a_batch_is_the_same_from_any_start_and_by_any_rows(order, count, batch_size, seed, start, step, first):
  stream = order(numbered(count), batch_size, seed)
  again = order(numbered(count), batch_size, seed)
  whole = take(stream, start + 2)[start:]
  chex.assert_trees_all_equal(take(again, 2, start), whole)
  part = slice(first, None, step)
  chex.assert_trees_all_equal(take(again, 2, start, part), [{k: v[part] for k, v in batch.items()} for batch in whole])


@ORDERS
@given(**sizes)
def test_rows_stay_whole_and_another_seed_gives_another_order(order, count, batch_size, seed):
  batches = take(order(numbered(count), batch_size, seed), 20)
  for batch in batches:
    np.testing.assert_array_equal(batch['square'][:, 0], batch['id'].astype(float) ** 2)
  if count * batch_size >= 100 and count >= 10:
    others = take(order(numbered(count), batch_size, (seed + 1) % 2**32), 20)
    assert any((a['id'] != b['id']).any() for a, b in zip(batches, others, strict=True))


@given(**sizes)
def test_an_epoch_of_shuffled_rows_has_each_once(count, batch_size, seed):
  batches = take(shuffled(numbered(count), batch_size, seed), -(-3 * count // batch_size))
  ids = np.concatenate([batch['id'] for batch in batches])[: 3 * count].reshape(3, count)
  np.testing.assert_array_equal(np.sort(ids, axis=1), np.tile(np.arange(count), (3, 1)))
  assert count < 12 or (ids[0] != ids[1]).any()


@given(**sizes)
def test_an_epoch_of_slices_has_no_row_twice(count, batch_size, seed):
  size = min(batch_size, count)
  per_epoch = count // size
  for epoch in range(3):
    batches = take(slices(numbered(count), batch_size, seed), per_epoch, epoch * per_epoch)
    ids = np.concatenate([batch['id'] for batch in batches])
    assert len(ids) == per_epoch * size == len(set(ids.tolist()))
    assert all(np.isin(np.diff(batch['id']), (1, 1 - count)).all() for batch in batches)  # neighbours, round the end


def test_drawn_rows_are_uniform():
  ids = np.concatenate([batch['id'] for batch in take(drawn(numbered(10), 32, 0), 1000)])
  # Multinomial of 32,000 draws over 10 rows: a standard deviation of 54.
  assert np.abs(np.bincount(ids, minlength=10) - 3200).max() < 5 * 54


def test_what_is_arranged_is_drawn_anew_for_each_batch_and_alike_for_all_processes():
  def arrange(rng, rows):
    return rows | {'noise': rng.random(len(rows['id']))}

  stream = shuffled(numbered(6), 4, 7, arrange)
  batches = take(stream, 3)
  assert len({float(x) for batch in batches for x in batch['noise']}) == 12
  halves = zip(take(stream, 3, 0, slice(0, 2)), take(stream, 3, 0, slice(2, 4)), strict=True)
  for whole, (first, second) in zip(batches, halves, strict=True):
    np.testing.assert_array_equal(np.concatenate([first['noise'], second['noise']]), whole['noise'])


@given(count=sizes['count'], batch_size=sizes['batch_size'])
def test_padded_batches_hold_every_row_once_and_copies_without_weight(count, batch_size):
  data = padded(numbered(count), batch_size)
  batches = list(data.batches())
  assert len(batches) == len(data)
  for batch in batches:
    chex.assert_shape([batch['id'], batch['weights']], (batch_size,))
  ids, weights = (np.concatenate([batch[name] for batch in batches]) for name in ('id', 'weights'))
  assert weights.dtype == np.float32
  np.testing.assert_array_equal(ids[weights == 1], np.arange(count))
  np.testing.assert_array_equal(ids[weights == 0], count - 1)


def test_padding_takes_the_weights_that_are_there():
  arrays = numbered(3) | {'weights': np.array([[1, 0], [1, 1], [0, 1]], np.float32)}
  (batch,) = padded(arrays, 4).batches()
  np.testing.assert_array_equal(batch['weights'], [[1, 0], [1, 1], [0, 1], [0, 0]])
  (arranged,) = padded(numbered(3), 4, lambda rng, rows: {'weights': np.full((len(rows['id']), 2, 2), 0.5)}).batches()
  np.testing.assert_array_equal(arranged['weights'][:, 0, 0], [0.5, 0.5, 0.5, 0])


@pytest.mark.parametrize('ahead', [False, True])
def test_a_function_of_the_number_is_a_stream(ahead):
  asked = []

  def batch(number, rows):
    asked.append(number)
    return {'number': np.full(4, number)[rows]}

  stream = Stream(batch, ahead=ahead).batches(5, slice(1, 3))
  numbers = [next(stream)['number'].tolist() for _ in range(4)]
  stream.close()
  assert numbers == [[n, n] for n in (5, 6, 7, 8)]
  assert sorted(asked) == list(range(5, 5 + len(asked)))
  assert ahead or len(asked) == 4


@pytest.mark.parametrize('ahead', [False, True])
def test_what_fails_in_a_stream_is_raised_where_it_is_read(ahead):
  def batch(number, rows):
    if number == 2:
      raise UserError('row 2 is damaged')
    return {'number': np.full(1, number)[rows]}

  stream = Stream(batch, ahead=ahead).batches()
  assert [int(next(stream)['number'][0]) for _ in range(2)] == [0, 1]
  with pytest.raises(UserError, match='row 2 is damaged'):
    next(stream)


def test_a_list_gives_each_batch_by_number():
  data = BatchList(3, lambda number, rows: {'number': np.full(4, number)[rows]})
  assert [batch['number'].tolist() for batch in data.batches(slice(0, 2))] == [[0, 0], [1, 1], [2, 2]]


@pytest.mark.parametrize('order', [shuffled, drawn, slices, padded])
def test_nothing_to_batch_is_refused(order):
  with pytest.raises(UserError, match='no examples'):
    order(numbered(0), 4)
  with pytest.raises(ValueError, match='cannot be batched together'):
    order({'a': np.zeros(3), 'b': np.zeros(4)}, 4)
