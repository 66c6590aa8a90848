"""Sorted groups: what polars' hash tables say of the same rows."""

import numpy as np
import polars as pl
import pytest

from mlsd_jax.recsys.known import grouped
from mlsd_jax.recsys.known.grouped import Grouped

NAMES = ('size', 'sum', 'count', 'mean', 'earliest', 'latest', 'distinct', 'distinct_late')


def _rows(number: int, keys: int) -> pl.DataFrame:
  rng = np.random.default_rng(3)
  day = np.sort(rng.integers(0, 40, number)).astype(np.int32)  # as they come: days only rise
  return pl.DataFrame(
    {'key': rng.integers(0, keys, number) * 10**9, 'day': day, 'price': rng.random(number, np.float32)}
  )


def _values(part, of):
  day, price = of['day'], of['price']
  return {
    'size': part.size,
    'sum': part.sum(price),
    'count': part.sum(day > 30),
    'mean': part.mean(price),
    'earliest': part.earliest(price),
    'latest': part.latest(price),
    'distinct': part.distinct(day),
    'distinct_late': part.distinct(day, day > 30),
  }


@pytest.mark.parametrize(('number', 'keys'), [(1, 1), (7, 1), (5_000, 400), (200_000, 3), (200_000, 90_000)])
def test_tables_are_those_of_a_hash_table(number, keys):
  rows = _rows(number, keys)
  day, late = pl.col('day'), pl.col('day') > 30
  expected = (
    rows.group_by('key', maintain_order=True)
    .agg(
      pl.len().alias('size'),
      pl.col('price').cast(pl.Float64).sum().alias('sum'),
      late.sum().alias('count'),
      pl.col('price').mean().alias('mean'),
      pl.col('price').first().alias('earliest'),
      pl.col('price').last().alias('latest'),
      day.n_unique().alias('distinct'),
      day.filter(late).n_unique().alias('distinct_late'),
    )
    .sort('key')
  )
  by = Grouped(rows['key'].to_numpy())
  found = by.table(NAMES, {name: rows[name].to_numpy() for name in ('day', 'price')}, _values)
  np.testing.assert_array_equal(by.key, expected['key'].to_numpy())
  for place, name in enumerate(NAMES):
    np.testing.assert_allclose(found[:, place], expected[name].to_numpy(), rtol=1e-6, err_msg=name)
    if name not in ('sum', 'mean'):
      np.testing.assert_array_equal(found[:, place], expected[name].to_numpy().astype(np.float32), err_msg=name)


def test_a_column_is_in_the_order_of_its_rows():
  rows = _rows(100_000, 700)
  place = Grouped(rows['key'].to_numpy()).column(
    {}, lambda part, of: np.arange(len(part.first)) - part.start.repeat(part.size)
  )
  np.testing.assert_array_equal(place, rows.select(pl.int_range(pl.len()).over('key')).to_series().to_numpy())


@pytest.mark.parametrize('largest', [100, 2**50])  # the latter leaves no room for the rows in one number
def test_the_order_is_stable(largest):
  key = np.random.default_rng(0).integers(0, 50, 10_000) * (largest // 50)
  np.testing.assert_array_equal(grouped._stable_order(key), np.argsort(key, kind='stable'))


def test_no_rows_make_an_empty_table():
  by = Grouped(np.zeros(0, np.int64))
  assert by.table(NAMES, {'day': np.zeros(0), 'price': np.zeros(0)}, _values).shape == (0, len(NAMES))


@pytest.mark.parametrize('number', [0, 1, 1000])
def test_distinct_and_contains_are_numpys(number):
  rng = np.random.default_rng(1)
  values, asked = rng.integers(0, 800, number), rng.integers(-100, 900, 500)
  np.testing.assert_array_equal(grouped.distinct(values), np.unique(values))
  np.testing.assert_array_equal(grouped.contains(grouped.distinct(values), asked), np.isin(asked, values))
