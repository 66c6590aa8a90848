"""What the config of an experiment stands for: its data, and the settings of each stage, checked."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from mlsd_jax.errors import UserError
from mlsd_jax.recsys.funnel import FunnelConfig
from mlsd_jax.recsys.preparation import RecommenderConfig
from mlsd_jax.recsys.purchases import generator, own_table, readers, weeks
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.generator import SyntheticConfig
from mlsd_jax.recsys.purchases.own_table import Reading
from mlsd_jax.recsys.sequence_training import SequenceConfig
from mlsd_jax.recsys.stages import candidates
from mlsd_jax.recsys.stages.sequence_source import SEQUENCE
from mlsd_jax.recsys.stages.tower_source import NAME
from mlsd_jax.recsys.training import RankerConfig, TowerConfig
from mlsd_jax.schema import Source, SourceName, from_mapping
from mlsd_jax.training.step import refuse_microbatches

NEED_PATH = ('hm', 'online_retail', 'table')  # sources that are wherever the user put them
SOURCES = ('completejourney', 'synthetic', *NEED_PATH)


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """Where the purchases come from, and how a table of one's own is written."""

  source: SourceName
  promotions: bool = True
  path: Source = ''
  columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
  categories: str | Sequence[str] = ''
  decimal: str = ''
  date_order: str = ''
  min_rating: str | float = ''
  synthetic: SyntheticConfig = dataclasses.field(default_factory=SyntheticConfig)

  def __post_init__(self):
    for ours, theirs in self.columns.items():
      if ours not in own_table.COLUMNS:
        raise UserError(f'config.data.columns.{ours} is not one of {", ".join(own_table.COLUMNS)}')
      if not isinstance(theirs, str):
        raise UserError(f'config.data.columns.{ours} must be the name of a column, got {theirs!r}')
    _ = self.reading

  @property
  def category_names(self) -> tuple[str, ...]:
    """Of a tuple in a config, or of names with commas between on the command line."""
    names = self.categories.split(',') if isinstance(self.categories, str) else self.categories
    return tuple(filter(None, (name.strip() for name in names)))

  @property
  def reading(self) -> Reading:
    try:
      least = None if self.min_rating == '' else float(self.min_rating)
    except (TypeError, ValueError):
      least = math.nan
    if least is not None and not math.isfinite(least):
      raise UserError(f'config.data.min_rating={self.min_rating!r} is no number')
    return Reading(self.decimal, self.date_order, least)


def read_ratings(config: Any) -> Dataset:
  """The table of `config.data` with the rating of each line.

  Raises:
    UserError: purchases of another kind, no column of ratings, or a file that cannot be read.
  """
  data = read_data(config)
  if data.source != 'table' or not data.path:
    raise UserError('ratings are read of a table: --config.data.path=FILE --config.data.columns.rating=NAME')
  reading = dataclasses.replace(data.reading, ratings=True)
  return _readable(config, lambda: own_table.read_table(data.path, data.columns, data.category_names, reading))


def read_dataset(config: Any) -> Dataset:
  """The purchases of `config.data`, without the last `config.funnel.skip` weeks.

  Raises:
    UserError: an unknown source, a source that requires a path, or a file that cannot be read.
  """
  data = _readable(config, lambda: _read(config))
  if not config.funnel.skip:
    return data
  earlier = data.until(int(data.events['time'][-1]) + 1 - config.funnel.skip * weeks.WEEK)
  if not earlier.events.height:
    raise UserError(f'config.funnel.skip={config.funnel.skip} leaves no purchase of {data.name}')
  return earlier


def _readable(config: Any, read: Callable[[], Dataset]) -> Dataset:
  """What `read` reads; raises UserError where a file cannot be read."""
  try:
    return read()
  except (pl.exceptions.PolarsError, OSError, EOFError) as error:
    what = next(iter(str(error).splitlines()), type(error).__name__)
    raise UserError(f'{config.data.path or config.data.source} cannot be read: {what}') from error


def _read(config: Any) -> Dataset:
  data = read_data(config)
  if data.source == 'completejourney':
    return readers.read_completejourney(data.promotions)
  if data.source == 'synthetic':
    return generator.generate(data.synthetic).dataset
  if data.source not in SOURCES:
    raise UserError(f'config.data.source={data.source!r} is neither a file nor one of {", ".join(SOURCES)}')
  if not data.path:
    raise UserError(f'config.data.source={data.source!r} requires --config.data.path=')
  if data.source == 'hm':
    return readers.read_hm(data.path)
  if data.source == 'online_retail':
    return readers.read_online_retail(data.path)
  return own_table.read_table(data.path, data.columns, data.category_names, data.reading)


def read_data(config: Any) -> DataConfig:
  return from_mapping(DataConfig, config.data.to_dict(), 'data')


def read_recommender(config: Any) -> RecommenderConfig:
  """The settings of all stages.

  Raises:
    UserError: an unknown key or source, or a value that cannot be.
  """
  ranker = _read_trained(RankerConfig, config, 'ranker')
  if ranker.train.eval_every or ranker.train.keep_best:
    raise UserError('config.ranker.train: eval_every and keep_best have no effect, as the ranker trains without a loss '
                    'to evaluate; leave them 0 and False')  # fmt: skip
  return RecommenderConfig(read_funnel(config), read_towers(config), ranker, read_sequence(config))


def read_funnel(config: Any) -> FunnelConfig:
  """Raises UserError for a source that is not known, and for a sequence model that no candidates are asked of."""
  values = config.funnel.to_dict()
  known = (*candidates.SOURCES, NAME, SEQUENCE)
  unknown = [name for name in values['per_source'] if name not in known]
  if unknown:
    raise UserError(f'config.funnel.per_source.{unknown[0]} is not one of {", ".join(known)}')
  sequence = has_sequence(config)
  left_out = () if sequence else (SEQUENCE,)
  values['per_source'] = {
    name: number for name, number in values['per_source'].items() if number != 0 and name not in left_out
  }
  if sequence and SEQUENCE not in values['per_source']:
    raise UserError(
      f'config.sequence.kind={config.sequence.kind!r} requires config.funnel.per_source.{SEQUENCE} above 0'
    )
  return from_mapping(FunnelConfig, values, 'funnel')


def has_sequence(config: Any) -> bool:
  """Whether there is a sequence model; a config of before there were any has no such section."""
  return bool('sequence' in config and config.sequence.kind)


def read_sequence(config: Any) -> SequenceConfig | None:
  return _read_trained(SequenceConfig, config, 'sequence') if has_sequence(config) else None


def read_towers(config: Any) -> TowerConfig:
  return _read_trained(TowerConfig, config, 'tower')


def _read_trained[T](cls: type[T], config: Any, section: str) -> T:
  values = config[section].to_dict()
  values['train'] |= {'seed': config.seed}
  refuse_microbatches(values['train']['accumulation'])  # each of the losses depends on its whole batch
  return from_mapping(cls, values, section)


def describe(data: Dataset, cuts: Sequence[int]) -> str:
  """Lines on what the data holds, the week held out and what was left out in reading."""
  held_out, history = weeks.find_targets(data, cuts[0]), data.before(cuts[0])
  cold_users = len(np.setdiff1d(held_out.users, history['user'].unique().to_numpy()))
  cold_items = len(np.setdiff1d(held_out.item, history['item'].unique().to_numpy()))
  days = [weeks.day(data.events['time'][place]) for place in (0, -1)]
  return '\n'.join(
    [
      f'{data.name}: {data.events.height:,} purchases of {data.num_users:,} users, {data.num_items:,} items, '
      f'{days[0]} to {days[1]}',
      f'held out: the week from {weeks.first_day(cuts[0])} on, {len(held_out.users):,} users, '
      f'{len(held_out.user):,} purchases; {cold_users:,} users and {cold_items:,} of the items were never seen before',
      *data.notes,
      *filter(None, [weeks.describe_early(data)]),
      *_describe_nobody(data),
    ]
  )


def _describe_nobody(data: Dataset) -> list[str]:
  """A line on a user with more purchases than people make, such as the 0 that some tables have for a missing id."""
  counts = data.events['user'].value_counts(sort=True).head(2)
  most, next_to_it = [*counts['count'], 0][:2]
  if most < data.events.height / 20 or most < 10 * next_to_it:
    return []
  name, share = data.users['id'][int(counts['user'][0])], most / data.events.height
  shares = f'user {name!r} has {share:.0%} of all purchases, the next {next_to_it / data.events.height:.1%}'
  return [f'{shares}: if that id stands for whoever is not known, leave it empty in the table']
