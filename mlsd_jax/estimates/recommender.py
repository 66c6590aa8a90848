"""A recommendation funnel on paper: load, tables, candidates by stage, feature reads, a request, batches for all users.

Sources: DLRM (Naumov et al. 2019, arXiv:1906.00091) for what tables and interactions cost; row-wise Adagrad keeps one
float32 a row (Facebook's DLRM code; docs/explanation/recsys.md).
"""

import dataclasses
import math
from collections.abc import Mapping

from mlsd_jax.estimates.retrieval import CORE_BYTES_PER_SECOND, CORE_FLOPS, partitions_for, search_seconds
from mlsd_jax.estimates.table import Group, Row
from mlsd_jax.estimates.units import DAY


@dataclasses.dataclass(frozen=True)
class Load:
  """Who asks, and how often.

  Attributes:
    users, items: that there are.
    daily_users: of them that come in a day.
    requests: of each, a day.
    peak: the busiest second over the mean one.
    cores: that score batches for all users.
  """

  users: float
  items: float
  daily_users: float
  requests: float
  peak: float
  cores: int


@dataclasses.dataclass(frozen=True)
class Funnel:
  """Sizes of the models and of the stages.

  Attributes:
    tables: name -> (rows, dimensions), of both models.
    tower_weights, ranker_weights: parameters outside of tables.
    vector_dim: of the index of items.
    per_source: candidates that each source names.
    keep: candidates that the ranker sees.
    shown: items of an answer.
    features: dense features of a candidate.
  """

  tables: Mapping[str, tuple[int, int]]
  tower_weights: int
  ranker_weights: int
  vector_dim: int
  per_source: Mapping[str, int]
  keep: int
  shown: int
  features: int


def table_bytes(rows: float, dim: int) -> float:
  """rows x (4 D + 4): float32 values, and row-wise Adagrad's one number a row."""
  return rows * (4.0 * dim + 4.0)


def peak_qps(load: Load) -> float:
  """daily users x requests / 86,400 x peak."""
  return load.daily_users * load.requests / DAY * load.peak


def estimate(funnel: Funnel, load: Load) -> list[Group]:
  """Everything about a funnel, in groups to print."""
  qps = peak_qps(load)
  rows = [
    Row(name, table_bytes(*shape), 'bytes', f'{shape[0]:,} rows x ({shape[1]} x 4 + 4) B')
    for name, shape in funnel.tables.items()
  ]
  total = sum(table_bytes(*shape) for shape in funnel.tables.values())
  named = sum(funnel.per_source.values())
  reads = funnel.keep * funnel.features
  # One core: every source's list, the index, the blend over the union, the ranker over what is kept.
  looked_at = min(partitions_for(0.95), math.sqrt(load.items))
  # As IndexConfig chooses by size: all vectors, all codes of half a byte for two dimensions, or partitions of codes.
  of_item = funnel.vector_dim * (4 if load.items < 20_000 else 0.25)
  index = search_seconds(load.items, funnel.vector_dim, looked_at)
  if load.items < 100_000:
    index = load.items * of_item / CORE_BYTES_PER_SECOND
  tower = max(2.0 * funnel.tower_weights / CORE_FLOPS, 4.0 * funnel.tower_weights / CORE_BYTES_PER_SECOND)
  gather = named * 64 / CORE_BYTES_PER_SECOND + funnel.keep * 100e-9
  features = reads * 8 / CORE_BYTES_PER_SECOND + reads * 5e-9
  ranker = funnel.keep * 2.0 * funnel.ranker_weights / CORE_FLOPS
  stages = {'user tower': tower, 'index': index, 'union': gather, 'features': features, 'ranker': ranker}
  request = sum(stages.values())
  largest = max(stages, key=lambda name: stages[name])
  return [
    Group(
      'load',
      (
        Row('requests a day', load.daily_users * load.requests, 'count', 'daily users x requests'),
        Row('QPS at the peak', qps, 'count', f'daily users x requests / 86,400 x {load.peak:g}'),
        Row('candidates named', named, 'count', ' + '.join(f'{name} {n}' for name, n in funnel.per_source.items())),
        Row('candidates ranked', funnel.keep, 'count', 'config.funnel.keep'),
        Row('shown', funnel.shown, 'count', 'config.serve.number'),
        Row('feature reads a request', reads, 'count', f'candidates ranked x {funnel.features} features'),
        Row('feature reads a second', reads * qps, 'count', 'reads x QPS: why they are columns in memory, not a store'),
      ),
    ),
    Group(
      'tables with optimiser state',
      (
        *rows,
        Row('in all', total, 'bytes', 'rows x (dim x 4 + 4), row-wise Adagrad'),
        Row('with Adam', sum(rows_ * 12.0 * dim for rows_, dim in funnel.tables.values()), 'bytes', 'rows x dim x 12'),
      ),
    ),
    Group(
      'a request on one core',
      (
        *(Row(name, seconds, 'seconds', _FORMULAS[name]) for name, seconds in stages.items()),
        Row('in all', request, 'seconds', 'one after the other'),
        Row('cores at the peak', math.ceil(qps * request / 0.6), 'count', 'QPS x seconds / 0.6 utilisation'),
        Row('in flight', qps * request, 'count', "QPS x seconds (Little's law)"),
        Row(
          'batch for all users', load.users * request / load.cores, 'seconds', f'users x seconds / {load.cores} cores'
        ),
      ),
      (f'{largest} bounds a request ({stages[largest] / request:.0%})',),
    ),
  ]


_FORMULAS = {
  'user tower': 'max(2 x weights / peak, 4 B x weights / bandwidth)',
  'index': 'bytes read / bandwidth: all vectors under 20,000 items, all codes under 100,000, else ScaNN',
  'union': 'candidates x 64 B / bandwidth + 100 ns a kept one',
  'features': 'reads x 8 B / bandwidth + 5 ns each, columns in memory',
  'ranker': 'candidates x 2 x weights / peak',
}
