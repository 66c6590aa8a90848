"""A data set as a folder: Parquet tables, and dataset.json, which says what their columns are."""

import datetime
import pathlib

import polars as pl

from mlsd_jax import files
from mlsd_jax.recsys.purchases.events import Dataset

_TABLES = ('events', 'users', 'items', 'promotions')
_LISTS = ('categories', 'attributes', 'user_attributes', 'notes')


def save(dataset: Dataset, folder: pathlib.Path) -> None:
  """Writes a folder that `load` reads."""
  folder.mkdir(parents=True, exist_ok=True)
  for name in _TABLES:
    table = getattr(dataset, name)
    if table is not None:
      with files.atomic_path(folder / f'{name}.parquet') as temporary:
        table.write_parquet(temporary)
  described = {name: list(getattr(dataset, name)) for name in _LISTS}
  closed = [day.isoformat() for day in dataset.closed]
  files.write_json(folder / 'dataset.json', {'name': dataset.name, 'closed': closed} | described)


def load(folder: pathlib.Path) -> Dataset:
  """What was saved.

  Raises:
    UserError: the folder holds none.
  """
  described = files.read_json(folder / 'dataset.json')
  table = lambda name: pl.read_parquet(folder / f'{name}.parquet')
  return Dataset(
    described['name'],
    table('events'),
    table('users'),
    table('items'),
    **{name: tuple(described[name]) for name in _LISTS},
    promotions=table('promotions') if (folder / 'promotions.parquet').exists() else None,
    closed=tuple(map(datetime.date.fromisoformat, described['closed'])),
  )
