"""A recommendation funnel on paper: load, tables, candidates by stage, feature reads, a request, batches for all users.

Sources: DLRM (Naumov et al. 2019, arXiv:1906.00091) for what tables and interactions cost; row-wise Adagrad keeps one
float32 a row (Facebook's DLRM code; docs/explanation/recsys.md).
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlsd_jax.estimates.retrieval import CORE_BYTES_PER_SECOND, CORE_FLOPS, partitions_for, search_seconds
from mlsd_jax.estimates.table import Group, Row
from mlsd_jax.estimates.transformer import Transformer
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


@dataclasses.dataclass(frozen=True)
class Model:
  """One of the two models.

  Attributes:
    tables: path -> (rows, dimensions).
    weights: parameters outside of tables, exactly.
    vector_dim: of what its index holds; 0 of the ranker.
  """

  tables: Mapping[str, tuple[int, int]]
  weights: int
  vector_dim: int = 0


_AGES = 2 * 16  # weights of a history's items, by age, for two uses
_SCALARS = 3  # strength of the factors, weight of popularity, weight of what was bought before


def of_towers(sizes: Mapping[str, Any]) -> Model:
  """The towers' sizes from the fields of TwoTowerConfig: tables, a causal transformer over the history, two MLPs."""
  width, hidden, seen = sizes['embed_dim'], sizes['hidden_dim'], sizes['sequence_dim']
  code_sizes = sizes['code_sizes'] if sizes['content'] else ()
  blocks = sizes['num_layers'] if sizes['sequence_length'] else 0
  heads = sizes['num_heads']
  block = Transformer(0, 0, blocks, seen, heads, heads, seen // heads, 4 * seen)
  sequence = blocks * (block.attention_matrices + block.mlp_matrices + block.block_vectors)
  sequence += (_linear(width, seen) + sizes['sequence_length'] * seen) if blocks else 0
  parts = (2 + len(sizes['user_sizes'])) * width + bool(blocks) * seen
  perceptron = lambda into: _linear(into, hidden) + _linear(hidden, width)
  weights = _SCALARS + _AGES + sequence + perceptron(width) + perceptron(parts)
  return Model(_tables(sizes, code_sizes), weights, width + sizes['factor_dim'] + 1)


def of_ranker(sizes: Mapping[str, Any], heads: int) -> Model:
  """SparseNN's sizes from the fields of SparseNNConfig: tables, the bottom MLP, interactions, the top MLP."""
  width, bottom, bins = sizes['embed_dim'], sizes['bottom_dim'], max(sizes['bins'], 1)
  tables = _tables(sizes, sizes['code_sizes']) if sizes['sparse'] else {}
  fields = len(tables) + bool(sizes['bag_length']) if sizes['sparse'] else 0
  joined = bottom + fields * width
  crossing, pairing = (sizes['interaction'] in (name, 'both') for name in ('cross', 'dot'))
  weights = _linear(sizes['num_dense'] * (bins + 1), bottom) + _linear(bottom, width)
  weights += sizes['cross_layers'] * crossing * (joined * sizes['cross_rank'] + _linear(sizes['cross_rank'], joined))
  layers = (joined + pairing * (fields + 1) * fields // 2, *sizes['top_dims'], heads)
  return Model(tables, weights + sum(_linear(*pair) for pair in itertools.pairwise(layers)))


def _tables(sizes: Mapping[str, Any], code_sizes: Sequence[int]) -> dict[str, tuple[int, int]]:
  rows = {'item_table': sizes['num_items'] + 1}
  rows |= {f'code_tables/{column}': size for column, size in enumerate(code_sizes)}
  rows |= {f'user_tables/{column}': size for column, size in enumerate(sizes['user_sizes'])}
  multiple = sizes['rows_multiple']
  return {path: (math.ceil(size / multiple) * multiple, sizes['embed_dim']) for path, size in rows.items()}


def _linear(into: int, out: int) -> int:
  return into * out + out


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
