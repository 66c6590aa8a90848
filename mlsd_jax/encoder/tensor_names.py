"""The names and shapes that BERT and XLM-R have for their tensors in files, and ours."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlsd_jax.data import tensor_files
from mlsd_jax.models import bert

# Their names (of a block: encoder.layer.N.NAME) and our paths. Their matrices are [out, in], ours [in, out].
_TOP = {
  'embeddings.word_embeddings.weight': 'token_embedding',
  'embeddings.position_embeddings.weight': 'position_embedding',
  'embeddings.token_type_embeddings.weight': 'type_embedding',
  'embeddings.LayerNorm.weight': 'embedding_norm/scale',
  'embeddings.LayerNorm.bias': 'embedding_norm/bias',
}
_QKV = ('query', 'key', 'value')  # three matrices there, one here
_BLOCK = {
  'attention.output.dense': 'out',
  'attention.output.LayerNorm': 'norm_1',
  'intermediate.dense': 'up',
  'output.dense': 'down',
  'output.LayerNorm': 'norm_2',
}
_POOLER = {'pooler.dense.weight': 'pooler/kernel', 'pooler.dense.bias': 'pooler/bias'}
_BERT_HEADS = {
  'pooler': _POOLER,
  'mlm': {
    'cls.predictions.transform.dense.weight': 'mlm/dense/kernel',
    'cls.predictions.transform.dense.bias': 'mlm/dense/bias',
    'cls.predictions.transform.LayerNorm.weight': 'mlm/norm/scale',
    'cls.predictions.transform.LayerNorm.bias': 'mlm/norm/bias',
    'cls.predictions.bias': 'mlm/bias',
  },
  'score': {'classifier.weight': 'score/kernel', 'classifier.bias': 'score/bias'},
}
# RoBERTa's classifier has a dense layer of its own in the place of the pooler.
_ROBERTA_HEADS = {
  'pooler': _POOLER,
  'mlm': {
    'lm_head.dense.weight': 'mlm/dense/kernel',
    'lm_head.dense.bias': 'mlm/dense/bias',
    'lm_head.layer_norm.weight': 'mlm/norm/scale',
    'lm_head.layer_norm.bias': 'mlm/norm/bias',
    'lm_head.bias': 'mlm/bias',
  },
  'score': {'classifier.out_proj.weight': 'score/kernel', 'classifier.out_proj.bias': 'score/bias'},
}
_ROBERTA_SCORER = {'classifier.dense.weight': 'pooler/kernel', 'classifier.dense.bias': 'pooler/bias'}
# Buffers, copies of tied parameters, and the head that told whether one sentence follows another.
_IGNORED = (
  'embeddings.position_ids',
  *(f'{head}.decoder.{end}' for head in ('cls.predictions', 'lm_head') for end in ('weight', 'bias')),
)
_IGNORED_PREFIX = 'cls.seq_relationship.'


def heads_of_type(roberta: bool, scores: bool) -> Mapping[str, Mapping[str, str]]:
  """Of each of bert.HEADS their names and our paths. `scores`: it scores pairs, by a dense layer of its own."""
  if not roberta:
    return dict(_BERT_HEADS)
  return _ROBERTA_HEADS | ({'pooler': _ROBERTA_SCORER} if scores else {})


def short_name(name: str) -> str:
  """Without what a model with a head puts before it, norms under their present names."""
  return (
    name.removeprefix('bert.')
    .removeprefix('roberta.')
    .replace('LayerNorm.gamma', 'LayerNorm.weight')
    .replace('LayerNorm.beta', 'LayerNorm.bias')
  )


def is_parameter(name: str) -> bool:
  """Whether our parameters have it."""
  name = short_name(name)
  return name not in _IGNORED and not name.startswith(_IGNORED_PREFIX)


def layout(config: bert.BertConfig) -> Iterator[tuple[tuple[str, ...], str]]:
  """Their names (three for queries, keys and values) and our path of every parameter."""
  for name, path in _TOP.items():
    yield (name,), path
  for i in range(config.num_layers):
    theirs = f'encoder.layer.{i}'
    for end, ours in (('weight', 'kernel'), ('bias', 'bias')):
      yield tuple(f'{theirs}.attention.self.{part}.{end}' for part in _QKV), f'blocks/{i}/qkv/{ours}'
    for name, path in _BLOCK.items():
      first = 'scale' if 'norm' in path else 'kernel'
      yield (f'{theirs}.{name}.weight',), f'blocks/{i}/{path}/{first}'
      yield (f'{theirs}.{name}.bias',), f'blocks/{i}/{path}/bias'
  for head, named in heads_of_type(config.first_position > 0, 'score' in config.heads).items():
    for name, path in named.items() if head in config.heads else ():
      yield (name,), path


def their_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape there of a parameter that has `shape` here."""
  if path.endswith('qkv/kernel'):
    return shape[2] * shape[3], shape[0]
  if path.endswith('qkv/bias'):
    return (shape[1] * shape[2],)
  if path.endswith('/kernel'):
    return shape[-1], int(np.prod(shape[:-1]))
  return shape


def to_ours(parts: list[np.ndarray], path: str, shape: tuple[int, ...]) -> np.ndarray:
  """One parameter of ours, of one tensor of theirs or three."""
  if '/qkv/' in path:
    axis = 1 if path.endswith('kernel') else 0
    return np.ascontiguousarray(np.stack([part.T for part in parts], axis).reshape(shape))
  return np.ascontiguousarray(parts[0].T.reshape(shape) if path.endswith('/kernel') else parts[0])


def their_tensors(params: dict[str, Any], config: bert.BertConfig) -> Iterator[tuple[str, np.ndarray]]:
  """All parameters under their names."""
  for names, path in layout(config):
    value = np.asarray(tensor_files.at(params, path), np.float32)
    shape = their_shape(path, value.shape)
    if '/qkv/' in path:
      split = np.moveaxis(value, 1 if path.endswith('kernel') else 0, 0)
      parts = [part.reshape(shape[::-1]).T for part in split]
    elif path.endswith('/kernel'):
      parts = [value.reshape(shape[::-1]).T]
    else:
      parts = [value]
    for name, part in zip(names, parts, strict=True):
      yield name, np.ascontiguousarray(part)
