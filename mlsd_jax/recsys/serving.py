"""What answers a request: the snapshot, both models and the index in one versioned folder, and `recommend` over it.

    STATE/current.json         names the version that serves
    STATE/VERSION/             snapshot/, index/, tower.safetensors, ranker.safetensors, *.npy, users and items

A version is written beside the old one and named last, so that a reader never meets half of one.
"""

import dataclasses
import hashlib
import pathlib
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import polars as pl
import safetensors.numpy
from flax import traverse_util

from mlsd_jax import files
from mlsd_jax.ann import Index
from mlsd_jax.errors import UserError
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys import funnel
from mlsd_jax.recsys.funnel import Funnel
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.known.snapshot import Snapshot
from mlsd_jax.recsys.purchases.events import Dataset
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.stages.blend import Blend
from mlsd_jax.recsys.stages.candidates import Candidates
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.scorer import Scorer
from mlsd_jax.recsys.stages.tower_data import TowerData
from mlsd_jax.recsys.stages.tower_source import Retriever
from mlsd_jax.training.config import from_mapping

_AT_ONCE = 1000  # users, of a batch of recommendations
_LAYOUT = 5  # of a saved state's files and of what their columns mean


@dataclasses.dataclass(frozen=True)
class State:
  """All that serving needs.

  Attributes:
    funnel: its stages, as of the snapshot's cut.
    snapshot: what is known of users and items.
    users: id; row u is user u. One number more, len(users), stands for whoever is not there.
    items: id, name and the finest category.
    version: of a state that was loaded.
  """

  funnel: Funnel
  snapshot: Snapshot
  histories: Histories
  users: pl.DataFrame
  items: pl.DataFrame
  version: str = ''


@dataclasses.dataclass(frozen=True)
class Answer:
  """Recommendations for some users.

  Attributes:
    items: [U, k], best first, -1 where there are no more.
    probability: [U, k] of a purchase within the week, given that the user buys at all.
    candidates: what the ranker chose from.
  """

  items: np.ndarray
  probability: np.ndarray
  candidates: Candidates


def recommend(
  state: State, users: np.ndarray, k: int = 12, *, exclude_bought: bool = False, in_stock: np.ndarray | None = None
) -> Answer:
  """The k best items of each user.

  Args:
    users: [U] numbers; len(state.users) for one who is not known.
    exclude_bought: leave out what the user has bought before.
    in_stock: [num_items] bool; others are left out.
  """
  stages, snapshot = state.funnel, state.snapshot
  union = funnel.gather(snapshot, state.histories, users, stages.per_source, stages.retriever)
  allowed = np.ones(len(union.candidates.item), bool)
  if in_stock is not None:
    allowed &= in_stock[union.candidates.item]
  if exclude_bought:
    allowed &= ~snapshot.bought(union.candidates.user, union.candidates.item)
  scored = funnel.score(stages, union if allowed.all() else union.keep(allowed))
  items, logits = scored.candidates.top(scored.logits[:, 0], k)
  return Answer(items, 1 / (1 + np.exp(-logits)), scored.candidates)


def save(state: State, root: pathlib.Path, described: Mapping[str, Any]) -> str:
  """Writes a version and makes it the current one.

  Args:
    described: kept beside it, such as the name of the data.

  Returns:
    The version: of the cut and of the ranker's parameters.
  """
  retriever, scorer, blend = state.funnel.retriever, state.funnel.scorer, state.funnel.blend
  ranker_params = _flat(scorer.params)
  parts = b''.join(np.ascontiguousarray(ranker_params[name]).tobytes() for name in sorted(ranker_params))
  version = f'{state.snapshot.cut}-{hashlib.sha256(parts).hexdigest()[:12]}'
  folder = root / version
  folder.mkdir(parents=True, exist_ok=True)
  snapshot.save(state.snapshot, folder / 'snapshot')
  arrays = {
    'codes': scorer.codes,
    'edges': scorer.edges,
    'user_codes': scorer.user_codes,
    'blend_weights': blend.weights,
    'blend_edges': blend.edges,
    'history_start': state.histories.start,
    'history_item': state.histories.item,
    'history_time': state.histories.time,
    'item_vectors': retriever.items,
    'factors': retriever.data.factors.table,
    'damping': retriever.data.factors.damping,
    'popularity': retriever.data.factors.popularity,
  }
  for name, array in arrays.items():
    with files.atomic_path(folder / f'{name}.npy') as temporary:
      np.save(temporary, array)
  for name, params in (('tower', retriever.params), ('ranker', scorer.params)):
    with files.atomic_path(folder / f'{name}.safetensors') as temporary:
      safetensors.numpy.save_file(_flat(params), temporary)
  for name, table in (('users', state.users), ('items', state.items)):
    with files.atomic_path(folder / f'{name}.parquet') as temporary:
      table.write_parquet(temporary)
  if (folder / 'index').exists():
    shutil.rmtree(folder / 'index')
  retriever.index.save(folder / 'index')
  files.write_json(
    folder / 'state.json',
    {
      'layout': _LAYOUT,
      'tower': dataclasses.asdict(retriever.config),
      'ranker': dataclasses.asdict(scorer.config),
      'per_source': dict(state.funnel.per_source),
      'keep': state.funnel.keep,
      'origin': state.histories.origin,
    }
    | dict(described),
  )
  files.write_json(root / 'current.json', {'version': version})
  return version


def load(root: pathlib.Path) -> State:
  """The current version, its arrays mapped into memory.

  Raises:
    UserError: nothing was saved there, or by another version of this code.
  """
  if not (root / 'current.json').exists():
    raise UserError(f'{root} holds no trained recommender; run --mode=train first')
  folder = root / files.read_json(root / 'current.json')['version']
  described = files.read_json(folder / 'state.json')
  if described.get('layout') != _LAYOUT:
    raise UserError(f'{root} was saved in another layout; train again in a new --workdir')
  array = lambda name: snapshot.mapped(folder / f'{name}.npy')
  lists = lambda values: {name: tuple(x) if isinstance(x, list) else x for name, x in values.items()}
  tower = from_mapping(TwoTowerConfig, lists(described['tower']), 'tower')
  ranker = from_mapping(SparseNNConfig, lists(described['ranker']), 'ranker')
  params = {name: _nested(safetensors.numpy.load_file(folder / f'{name}.safetensors')) for name in ('tower', 'ranker')}
  codes, user_codes = np.asarray(array('codes')), np.asarray(array('user_codes'))
  histories = Histories(array('history_start'), array('history_item'), array('history_time'), described['origin'])
  factors = Factors(array('factors'), array('damping'), array('popularity'))
  data = TowerData(histories, codes, user_codes, factors)
  return State(
    funnel=Funnel(
      per_source=described['per_source'],
      keep=described['keep'],
      retriever=Retriever(params['tower'], tower, data, array('item_vectors'), Index.open(folder / 'index')),
      blend=Blend(np.asarray(array('blend_weights')), np.asarray(array('blend_edges'))),
      scorer=Scorer(params['ranker'], ranker, codes, user_codes, np.asarray(array('edges'))),
    ),
    snapshot=snapshot.load(folder / 'snapshot'),
    histories=histories,
    users=pl.read_parquet(folder / 'users.parquet'),
    items=pl.read_parquet(folder / 'items.parquet'),
    version=folder.name,
  )


def name_tables(dataset: Dataset) -> tuple[pl.DataFrame, pl.DataFrame]:
  """What of users and items is kept with a state: ids, names, the finest category."""
  finest = pl.col(dataset.categories[-1]) if dataset.categories else pl.lit(None, pl.String)
  return dataset.users.select('id'), dataset.items.select('id', 'name', finest.cast(pl.String).alias('category'))


def recommend_in_parts(
  state: State, users: Sequence[int] | np.ndarray, folder: pathlib.Path, *, k: int = 12, part: int = 10_000
) -> int:
  """Recommendations for many users as Parquet files of `part` users; parts that are there are not made again.

  Returns:
    How many parts were made now.
  """
  users, made = np.asarray(users), 0
  digest = hashlib.sha256(np.ascontiguousarray(users, np.int64).tobytes()).hexdigest()
  made_for = {'version': state.version, 'users': digest, 'k': k, 'part': part}
  note = folder / 'parts.json'
  if note.exists() and files.read_json(note) != made_for:
    raise UserError(f'{folder} holds recommendations of another state or for other users; choose another folder')
  files.write_json(note, made_for)
  for number, first in enumerate(range(0, len(users), part)):
    target = folder / f'part-{number:05d}.parquet'
    if target.exists():
      continue
    of_part = users[first : first + part]
    answers = [recommend(state, of_part[i : i + _AT_ONCE], k) for i in range(0, len(of_part), _AT_ONCE)]
    items = np.concatenate([answer.items for answer in answers])
    probability = np.concatenate([answer.probability for answer in answers])
    table = pl.DataFrame(
      {
        'user': state.users['id'].gather(np.repeat(of_part, k)),
        'rank': np.tile(np.arange(1, k + 1, dtype=np.int16), len(of_part)),
        'item': state.items['id'].gather(np.maximum(items, 0).ravel()),
        'probability': probability.ravel().astype(np.float32),
      }
    ).filter(pl.Series(items.ravel() >= 0))
    with files.atomic_path(target) as temporary:
      table.write_parquet(temporary)
    made += 1
  return made


def _flat(params: Any) -> dict[str, np.ndarray]:
  return {name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(jax.device_get(params), sep='/').items()}


def _nested(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  return jax.device_put(traverse_util.unflatten_dict(dict(flat), sep='/'))


def measure_latency(state: State, requests: int, seed: int = 0) -> tuple[float, float]:
  """Milliseconds of one request, median and 99th percentile: single users drawn at random, unknown ones among them."""
  rng = np.random.default_rng(seed)
  users = rng.integers(0, len(state.users) + 1, requests)
  users[:: max(requests // 10, 1)] = len(state.users)
  for user in users[:10]:
    recommend(state, np.array([user]))
  taken = []
  for user in users:
    began = time.perf_counter()
    recommend(state, np.array([user]))
    taken.append(1000 * (time.perf_counter() - began))
  return float(np.median(taken)), float(np.quantile(taken, 0.99))
