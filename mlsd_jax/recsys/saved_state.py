"""What answers a request, on disk: the snapshot, both models and the index as one version of a folder.

    STATE/VERSION/              snapshot/, index/, tower.safetensors, ranker.safetensors, trees.txt, *.npy, users,
                                sequence.safetensors and sequence_index/ where there is a sequence model,
                                items, purchases/ (what it was made from, for a server that counts what is bought after)
    STATE/VERSION.sha256.json   its settings and checksums
    STATE/current.json          names the version that serves

A version is whole or does not count (mlsd_jax/sealed/versions.py).
"""

import dataclasses
import hashlib
import logging
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import polars as pl
import safetensors.numpy
from flax import traverse_util

from mlsd_jax.ann import Index
from mlsd_jax.errors import UserError
from mlsd_jax.models import sequential
from mlsd_jax.models.sequential import SequentialConfig
from mlsd_jax.models.sparsenn import SparseNNConfig
from mlsd_jax.models.two_tower import TwoTowerConfig
from mlsd_jax.recsys.funnel import Funnel
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import saved_purchases
from mlsd_jax.recsys.purchases.histories import Histories
from mlsd_jax.recsys.serving import State
from mlsd_jax.recsys.stages import guard
from mlsd_jax.recsys.stages.blend import Blend
from mlsd_jax.recsys.stages.factors import Factors
from mlsd_jax.recsys.stages.guard import Guard
from mlsd_jax.recsys.stages.scorer import Scorer
from mlsd_jax.recsys.stages.sequence_source import SequenceSource
from mlsd_jax.recsys.stages.tower_data import TowerData
from mlsd_jax.recsys.stages.tower_source import Retriever
from mlsd_jax.recsys.stages.trees import AverageScorer, Ranker, TreeScorer
from mlsd_jax.recsys.stages.vector_source import build_index
from mlsd_jax.schema import from_mapping
from mlsd_jax.sealed import Versions, lock

_LAYOUT = 6  # of a saved state's files and of what their columns mean
_logger = logging.getLogger(__name__)


def save(state: State, root: pathlib.Path, described: Mapping[str, Any]) -> str:
  """Writes a version and makes it the current one; the one before stays.

  Args:
    described: kept beside it, such as the name of the data.

  Returns:
    The version: of the cut and of the ranker's parameters.

  Raises:
    UserError: it cannot be written, or another process, named by its id, writes there.
  """
  retriever, scorer, blend = state.funnel.retriever, state.funnel.scorer, state.funnel.blend
  parts = scorer.parts if isinstance(scorer, AverageScorer) else (scorer,)
  neural = next((part for part in parts if isinstance(part, Scorer)), None)
  trees = next((part for part in parts if isinstance(part, TreeScorer)), None)
  ranker = _flat(neural.params) if neural else {}
  digest = hashlib.sha256(b''.join(np.ascontiguousarray(ranker[name]).tobytes() for name in sorted(ranker)))
  digest.update(trees.text.encode() if trees else b'')
  arrays = {
    'codes': scorer.codes,
    'edges': neural.edges if neural else np.zeros((0, 2), np.float32),
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
  note = {
    'layout': _LAYOUT,
    'tower': dataclasses.asdict(retriever.config),
    'ranker': dataclasses.asdict(neural.config) if neural else None,
    'trees': list(trees.line) if trees else None,
    'average': list(scorer.line) if isinstance(scorer, AverageScorer) else None,
    'per_source': dict(state.funnel.per_source),
    'keep': state.funnel.keep,
    'guard': {segment: dict(weights) for segment, weights in state.funnel.guard.weights.items()},
    'origin': state.histories.origin,
    'filters': True,  # the index can
    'sequence': dataclasses.asdict(retriever.sequence.config) if retriever.sequence else None,
  } | dict(described)
  versions = Versions(root)
  with lock(root):
    version = versions.fresh(f'{state.snapshot.cut}-{digest.hexdigest()[:12]}')
    try:
      with versions.write(version, note) as folder:
        snapshot.save(state.snapshot, folder / 'snapshot')
        for name, array in arrays.items():
          np.save(folder / f'{name}.npy', array)
        models = {'tower': _flat(retriever.params), 'ranker': ranker}
        if retriever.sequence:
          models['sequence'] = _flat(retriever.sequence.params)
          retriever.sequence.index.save_copy(folder / 'sequence_index')
        for name, params in models.items():
          safetensors.numpy.save_file(params, folder / f'{name}.safetensors')
        if trees:
          (folder / 'trees.txt').write_text(trees.text)
        for name, table in (('users', state.users), ('items', state.items)):
          table.write_parquet(folder / f'{name}.parquet')
        if state.purchases is not None:
          saved_purchases.save(state.purchases, folder / 'purchases')
        retriever.index.save_copy(folder / 'index')
    except (OSError, safetensors.SafetensorError) as error:
      raise UserError(f'cannot write {root}: {error}; the state before is untouched') from error
  return version


def load(root: pathlib.Path, *, warn: Callable[[str], None] = _logger.warning) -> State:
  """The current version, its arrays mapped into memory; if a file is damaged, the version before.

  Args:
    warn: gets one line, naming the damaged file, if that happens.

  Raises:
    UserError: nothing was saved there, no version is whole, or it is of another version of this code.
  """
  versions = Versions(root)
  if not versions.has_current():
    raise UserError(f'{root} holds no trained recommender; run --mode=train first')
  return versions.open(_open, remedy='train again in a new --workdir', warn=warn)


def _open(folder: pathlib.Path, described: Mapping[str, Any]) -> State:
  if described.get('layout') != _LAYOUT:
    raise UserError(f'{folder.parent} was saved in another layout; train again in a new --workdir')
  array = lambda name: snapshot.mapped(folder / f'{name}.npy')
  tower = from_mapping(TwoTowerConfig, _tuples(described['tower']), 'tower')
  params = {name: _nested(safetensors.numpy.load_file(folder / f'{name}.safetensors')) for name in ('tower', 'ranker')}
  codes, user_codes = np.asarray(array('codes')), np.asarray(array('user_codes'))
  histories = Histories(array('history_start'), array('history_item'), array('history_time'), described['origin'])
  factors = Factors(array('factors'), array('damping'), array('popularity'))
  data = TowerData(histories, codes, user_codes, factors)
  index = Index.open(folder / 'index', verify=False)  # as every file of the version, its bytes have been compared
  if not described.get('filters'):  # a state of before indices had what they are filtered by
    index = build_index(np.asarray(array('item_vectors')), index.settings)
  index.load()
  return State(
    funnel=Funnel(
      per_source=described['per_source'],
      keep=described['keep'],
      retriever=Retriever(
        params['tower'], tower, data, array('item_vectors'), index, sequence=_open_sequence(folder, described)
      ),
      blend=Blend(np.asarray(array('blend_weights')), np.asarray(array('blend_edges'))),
      scorer=_open_ranker(folder, described, params['ranker'], codes, user_codes),
      guard=_open_guard(described),
    ),
    snapshot=snapshot.load(folder / 'snapshot'),
    histories=histories,
    users=pl.read_parquet(folder / 'users.parquet'),
    items=pl.read_parquet(folder / 'items.parquet'),
    version=folder.name,
    purchases=saved_purchases.load(folder / 'purchases') if (folder / 'purchases').is_dir() else None,
  )


def _open_sequence(folder: pathlib.Path, described: Mapping[str, Any]) -> SequenceSource | None:
  if not described.get('sequence'):  # a state of before there was such a model says nothing of one
    return None
  params = _nested(safetensors.numpy.load_file(folder / 'sequence.safetensors'))
  config = from_mapping(SequentialConfig, described['sequence'], 'sequence')
  index = Index.open(folder / 'sequence_index', verify=False)
  index.load()
  return SequenceSource(params, config, np.asarray(sequential.item_vectors(params, config)), index)


def _open_guard(described: Mapping[str, Any]) -> Guard:
  if 'guard' in described:
    return Guard(described['guard'])
  return guard.start(described.get('newcomers', 'ranker'))  # a state of before there were guards, or newcomers


def _open_ranker(
  folder: pathlib.Path, described: Mapping[str, Any], params: Any, codes: np.ndarray, user_codes: np.ndarray
) -> Ranker:
  parts: list[Scorer | TreeScorer] = []
  if described['ranker'] is not None:
    config = from_mapping(SparseNNConfig, _tuples(described['ranker']), 'ranker')
    parts.append(Scorer(params, config, codes, user_codes, np.asarray(snapshot.mapped(folder / 'edges.npy'))))
  if described.get('trees'):  # a state of before there were trees says nothing of them
    slope, shift = described['trees']
    parts.append(TreeScorer((folder / 'trees.txt').read_text(), codes, user_codes, (slope, shift)))
  if not described.get('average'):
    return parts[0]
  slope, shift = described['average']
  return AverageScorer(parts, (slope, shift))


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
  """JSON's lists as tuples."""
  return {name: tuple(x) if isinstance(x, list) else x for name, x in values.items()}


def _flat(params: Any) -> dict[str, np.ndarray]:
  return {name: np.asarray(leaf) for name, leaf in traverse_util.flatten_dict(jax.device_get(params), sep='/').items()}


def _nested(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  return jax.device_put(traverse_util.unflatten_dict(dict(flat), sep='/'))
