"""Items that come after the build: recommendable by what is said of them, their categories and attributes.

The models learnt nothing of such an item. Its row of a table is that of no item (row 0), to which the embeddings of its
columns are added; its factors are zero, and it sells as the median of its finest category does.
"""

import dataclasses

import jax
import numpy as np
import polars as pl

from mlsd_jax.models import two_tower
from mlsd_jax.recsys.purchases.events import Dataset, encode, vocabulary
from mlsd_jax.recsys.serving import State
from mlsd_jax.recsys.stages.tower_data import BUCKETS, MIN_COUNT

_SPARE = 256  # rows: a new item needs no other shapes, so that nothing is compiled, until they are used up

_vectors = jax.jit(two_tower.dated_item_vectors, static_argnames='config')


def grow(state: State, number: int) -> State:
  """The same state with tables that have room for `number` items, and some more."""
  retriever, scorer = state.funnel.retriever, state.funnel.scorer
  data = retriever.data
  if number < len(data.codes):
    return state
  capacity = number + _SPARE
  more = capacity + 1 - len(data.codes)

  def pad(params):
    table = np.asarray(params['item_table'])[: len(data.codes)]  # without the rows that fill it up
    rows = np.repeat(table[:1], capacity + 1 - len(table), axis=0)
    return params | {'item_table': jax.device_put(np.concatenate([table, rows]))}

  codes = np.pad(data.codes, ((0, more), (0, 0)))
  factors = dataclasses.replace(
    data.factors,
    table=np.pad(data.factors.table, ((0, more), (0, 0))),
    damping=np.pad(data.factors.damping, (0, more), constant_values=1.0),
    popularity=np.pad(data.factors.popularity, (0, more), constant_values=float(np.median(data.factors.popularity))),
  )
  funnel = dataclasses.replace(
    state.funnel,
    retriever=dataclasses.replace(
      retriever,
      params=pad(retriever.params),
      config=dataclasses.replace(retriever.config, num_items=capacity),
      data=dataclasses.replace(data, codes=codes, factors=factors),
    ),
    scorer=scorer.with_items(codes),
  )
  return dataclasses.replace(state, funnel=funnel)


def add_items(state: State, built: Dataset, items: pl.DataFrame) -> State:
  """The state with the items [N] of a table that begins with those it was built with, `built.items`."""
  first = built.num_items
  new = items[first:]
  state = grow(state, items.height)
  retriever, scorer = state.funnel.retriever, state.funnel.scorer
  if not new.height:
    return state
  data, config = retriever.data, retriever.config
  codes, popularity = data.codes.copy(), data.factors.popularity.copy()
  rows = np.arange(first + 1, items.height + 1)
  for column, name in enumerate((*built.categories, *built.attributes)):
    names = vocabulary(built.items[name], min_count=MIN_COUNT, buckets=BUCKETS)[1]
    coded = encode(new[name], names, BUCKETS)
    codes[rows, column] = np.where(coded < config.code_sizes[column], coded, 0)
  if built.categories:
    finest = len(built.categories) - 1
    for row in rows:
      alike = popularity[1 : first + 1][codes[1 : first + 1, finest] == codes[row, finest]]
      popularity[row] = np.median(alike if len(alike) else popularity[1 : first + 1])
  factors = dataclasses.replace(data.factors, popularity=popularity)
  made = _vectors(retriever.params, rows, codes, factors.table[rows], popularity[rows], config)
  funnel = dataclasses.replace(
    state.funnel,
    retriever=dataclasses.replace(
      retriever,
      data=dataclasses.replace(data, codes=codes, factors=factors),
      items=np.concatenate([retriever.items[:first], np.asarray(made)]),
    ),
    scorer=scorer.with_items(codes),
  )
  return dataclasses.replace(state, funnel=funnel)
