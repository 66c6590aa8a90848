"""A data set in a folder is what it was."""

import dataclasses
import datetime

import polars as pl

from mlsd_jax.recsys.purchases import saved_purchases


def test_what_was_saved_is_read_back(made, tmp_path):
  day = datetime.date(2019, 1, 1)
  columns = {'item': [3], 'place': [0], 'start': [day], 'stop': [day], 'display': [True], 'mailer': [False]}
  announced = pl.DataFrame(columns, schema_overrides={'item': pl.Int32, 'place': pl.Int32})
  whole = dataclasses.replace(made.dataset, promotions=announced, closed=(day,), notes=('a line',))
  for number, dataset in enumerate((made.dataset, whole)):
    saved_purchases.save(dataset, tmp_path / str(number))
    read = saved_purchases.load(tmp_path / str(number))
    assert read.fingerprint == dataset.fingerprint
    for field in dataclasses.fields(dataset):
      old, new = getattr(dataset, field.name), getattr(read, field.name)
      assert new.equals(old) if isinstance(old, pl.DataFrame) else new == old
