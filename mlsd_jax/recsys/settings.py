"""What the config of an experiment stands for: its data, and the settings of each stage, checked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys import funnel, preparation
from mlsd_jax.recsys.funnel import FunnelConfig
from mlsd_jax.recsys.purchases import generator, own_table, readers, weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.generator import Synthetic
from mlsd_jax.recsys.stages.ranker import Losses
from mlsd_jax.recsys.training import TowerSettings
from mlsd_jax.training.config import TrainConfig, from_mapping

NEED_PATH = ('hm', 'online_retail', 'table')  # sources that are wherever the user put them
SOURCES = ('completejourney', 'synthetic', *NEED_PATH)


def dataset(config: Any) -> Dataset:
  """The purchases of `config.data`, without the last `config.funnel.skip` weeks.

  Raises:
    UserError: an unknown source, a source that wants a path, or a file that cannot be read.
  """
  try:
    data = _read(config)
  except (pl.exceptions.PolarsError, OSError, EOFError) as error:
    what = next(iter(str(error).splitlines()), type(error).__name__)
    raise UserError(f'{config.data.path or config.data.source} cannot be read: {what}') from error
  if not config.funnel.skip:
    return data
  earlier = data.until(int(data.events['time'][-1]) + 1 - config.funnel.skip * weeks.WEEK)
  if not earlier.events.height:
    raise UserError(f'config.funnel.skip={config.funnel.skip} leaves no purchase of {data.name}')
  return earlier


def _read(config: Any) -> Dataset:
  data = config.data
  if data.source == 'completejourney':
    return readers.completejourney(data.promotions)
  if data.source == 'synthetic':
    return generator.generate(synthetic(config)).dataset
  if data.source not in SOURCES:
    raise UserError(f'config.data.source={data.source!r} is neither a file nor one of {", ".join(SOURCES)}')
  if not data.path:
    raise UserError(f'config.data.source={data.source!r} wants --config.data.path=')
  if data.source == 'hm':
    return readers.hm(data.path)
  if data.source == 'online_retail':
    return readers.online_retail(data.path)
  categories = data.categories  # a tuple in a config, names with commas between on the command line
  names = [name.strip() for name in categories.split(',')] if isinstance(categories, str) else categories
  return own_table.table(data.path, data.columns.to_dict(), tuple(filter(None, names)))


def synthetic(config: Any) -> Synthetic:
  return from_mapping(Synthetic, config.data.synthetic.to_dict(), 'data.synthetic')


def of_funnel(config: Any) -> FunnelConfig:
  """Raises UserError for a source that is not known."""
  values = config.funnel.to_dict()
  known = (*funnel.SOURCES, funnel.NAME)
  unknown = [name for name in values['per_source'] if name not in known]
  if unknown:
    raise UserError(f'config.funnel.per_source.{unknown[0]} is not one of {", ".join(known)}')
  return from_mapping(FunnelConfig, values, 'funnel')


def of_towers(config: Any) -> tuple[TowerSettings, TrainConfig]:
  values = config.tower.to_dict()
  values.pop('train')
  return from_mapping(TowerSettings, values, 'tower'), _train(config, 'tower')


def of_ranker(config: Any) -> tuple[Losses, TrainConfig]:
  return from_mapping(Losses, config.ranker.losses.to_dict(), 'ranker.losses'), _train(config, 'ranker')


def _train(config: Any, section: str) -> TrainConfig:
  return from_mapping(TrainConfig, config[section].train.to_dict() | {'seed': config.seed}, f'{section}.train')


def described(data: Dataset, cuts: Sequence[int]) -> str:
  """Lines on what the data holds, the week held out and what was left out in reading."""
  held_out, history = weeks.targets(data, cuts[0]), data.before(cuts[0])
  cold_users = len(np.setdiff1d(held_out.users, history['user'].unique().to_numpy()))
  cold_items = len(np.setdiff1d(held_out.item, history['item'].unique().to_numpy()))
  days = [preparation.day(data.events['time'][place]) for place in (0, -1)]
  return '\n'.join(
    [
      f'{data.name}: {data.events.height:,} purchases of {data.num_users:,} users, {data.num_items:,} items, '
      f'{days[0]} to {days[1]}',
      f'held out: the week from {preparation.first_day(cuts[0])} on, {len(held_out.users):,} users, '
      f'{len(held_out.user):,} purchases; {cold_users:,} users and {cold_items:,} of the items were never seen before',
      *data.notes,
      *_in_nobodys_name(data),
    ]
  )


def _in_nobodys_name(data: Dataset) -> list[str]:
  """A line on a user with more purchases than people make, such as the 0 that some tables have for a missing id."""
  counts = data.events['user'].value_counts(sort=True).head(2)
  most, next_to_it = [*counts['count'], 0][:2]
  if most < data.events.height / 20 or most < 10 * next_to_it:
    return []
  name, share = data.users['id'][int(counts['user'][0])], most / data.events.height
  told = f'user {name!r} has {share:.0%} of all purchases, the next {next_to_it / data.events.height:.1%}'
  return [f'{told}: if that id stands for whoever is not known, leave it empty in the table']
