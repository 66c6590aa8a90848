"""ModernBERT, nomic-embed and gte in the folders of Hugging Face: what config.json says, and the names of tensors.

What a config asks for and models/modern_bert.py does not have is refused by its name.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mlsd_jax.data import tensor_files
from mlsd_jax.errors import UserError
from mlsd_jax.models.modern_bert import GTE, NOMIC, ModernBertConfig
from mlsd_jax.models.rotary import RotaryConfig

KINDS = ('modernbert', 'nomic_bert', 'gte', 'new')  # 'new' is gte as its authors published it

# Our field -> the names that config.json has for it, the first of them as it is written.
_SIZES = {
  'vocab_size': ('vocab_size',),
  'context_length': ('max_position_embeddings', 'n_positions'),
  'num_layers': ('num_hidden_layers', 'n_layer'),
  'num_heads': ('num_attention_heads', 'n_head'),
  'embed_dim': ('hidden_size', 'n_embd'),
  'mlp_dim': ('intermediate_size', 'n_inner'),
}
# What config.json may say without changing what models/modern_bert.py computes; an absent key counts as the first.
_FIXED: dict[str, dict[str, tuple[Any, ...]]] = {
  'modernbert': {
    'hidden_activation': ('gelu',),
    'mlp_bias': (False,),
    'classifier_bias': (False,),
    'classifier_activation': ('gelu',),
    'rope_scaling': (None,),
  },
  'nomic_bert': {
    'hidden_act': ('silu',),
    'activation_function': ('swiglu',),
    'prenorm': (False,),
    'qkv_proj_bias': (False,),
    'mlp_fc1_bias': (False,),
    'mlp_fc2_bias': (False,),
    'use_rms_norm': (False, None),
    'parallel_block': (False,),
    'causal': (False,),
    'rotary_emb_fraction': (1.0, 1),
    'rotary_emb_interleaved': (False,),
    'rotary_emb_scale_base': (None,),
    'num_experts': (None, 0),
    'moe_every_n_layers': (None, 0, -1),
  },
  'gte': {
    'hidden_act': ('gelu',),
    'layer_norm_type': ('layer_norm',),
    'position_embedding_type': ('rope',),
    'logn_attention_scale': (False,),
    'pack_qkv': (True,),
  },
}

# Parts of ours by their names; matrices that they have one by one are several. `_BLOCKS` is where a layer's stand.
_BLOCKS = {'modernbert': 'layers.{}.', 'nomic_bert': 'encoder.layers.{}.', 'gte': 'encoder.layer.{}.'}
_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
  'modernbert': {
    'qkv': ('attn.Wqkv',),
    'out': ('attn.Wo',),
    'gate_up': ('mlp.Wi',),
    'down': ('mlp.Wo',),
    'norm_1': ('attn_norm',),
    'norm_2': ('mlp_norm',),
  },
  'nomic_bert': {
    'qkv': ('attn.Wqkv',),
    'out': ('attn.out_proj',),
    'gate_up': ('mlp.fc12', 'mlp.fc11'),
    'down': ('mlp.fc2',),
    'norm_1': ('norm1',),
    'norm_2': ('norm2',),
  },
  'gte': {
    'qkv': ('attention.qkv_proj',),
    'out': ('attention.o_proj',),
    'gate_up': ('mlp.up_gate_proj',),
    'down': ('mlp.down_proj',),
    'norm_1': ('attn_ln',),
    'norm_2': ('mlp_ln',),
  },
}
_TOP = {
  'modernbert': {
    'token_embedding': 'embeddings.tok_embeddings',
    'embedding_norm': 'embeddings.norm',
    'final_norm': 'final_norm',
    'pooler': 'head.dense',
    'pooler_norm': 'head.norm',
    'score': 'classifier',
  },
  'nomic_bert': {
    'token_embedding': 'embeddings.word_embeddings',
    'type_embedding': 'embeddings.token_type_embeddings',
    'embedding_norm': 'emb_ln',
    'pooler': 'pooler.dense',
    'score': 'classifier',
  },
  'gte': {
    'token_embedding': 'embeddings.word_embeddings',
    'type_embedding': 'embeddings.token_type_embeddings',
    'embedding_norm': 'embeddings.LayerNorm',
    'pooler': 'pooler.dense',
    'score': 'classifier',
  },
}
_PREFIXES = {'modernbert': ('model.',), 'nomic_bert': ('nomic_bert.', 'bert.'), 'gte': ('new.', 'gte.')}
# Heads of other tasks: masked words, and gte's weights of single words. Those of a scorer of pairs go with one alone.
_OTHER_HEADS = ('decoder.', 'cls.', 'lm_head.')
_SCORERS = ('head.', 'pooler.', 'classifier.')
_ARCHITECTURES = {'modernbert': 'ModernBert', 'nomic_bert': 'NomicBert', 'gte': 'Gte'}
_GATES_SECOND = 'gte'  # whose one matrix has what is gated first


_LISTS = ('architectures', 'layer_types')
_OBJECTS = ('rope_parameters', 'rope_scaling', 'full_attention', 'sliding_attention')
_NUMBERS = (
  'norm_eps', 'layer_norm_eps', 'layer_norm_epsilon', 'global_rope_theta', 'local_rope_theta', 'rope_theta',
  'rotary_emb_base', 'rotary_scaling_factor', 'factor',
)  # fmt: skip
_WHOLE = ('local_attention', 'global_attn_every_n_layers', 'max_trained_positions')


def kind_of(config: ModernBertConfig) -> str:
  """The first three of KINDS."""
  return 'modernbert' if config.pre_norm else 'gte' if config.attention_bias else 'nomic_bert'


def short_name(name: str, kind: str) -> str:
  """Without what a model with a head puts before it."""
  prefix = next((each for each in _PREFIXES[_layout_of(kind)] if name.startswith(each)), '')
  return name.removeprefix(prefix)


def is_parameter(name: str, content: Mapping[str, Any]) -> bool:
  """Whether our parameters have a tensor of this short name, in a folder whose config.json says `content`."""
  without = _OTHER_HEADS if _scores(content) else _OTHER_HEADS + _SCORERS
  return not name.startswith(without) and not name.endswith(('inv_freq', 'position_ids'))


def _scores(content: Mapping[str, Any]) -> bool:
  names = content.get('architectures')
  return isinstance(names, list) and any(str(each).endswith('ForSequenceClassification') for each in names)


def _layout_of(kind: str) -> str:
  return 'gte' if kind == 'new' else kind


def read_config(content: Mapping[str, Any]) -> ModernBertConfig:
  """The shape that a config.json names.

  Raises:
    UserError: what it says and models/modern_bert.py does not have, by its name.
  """
  content = {name: value for name, value in content.items() if value is not None}
  _check_kinds(content)
  kind = _layout_of(content['model_type'])
  for name, allowed in _FIXED[kind].items():
    if (value := content.get(name, allowed[0])) not in allowed:
      raise UserError(f'says {name}={value!r}; only {allowed[0]!r} is supported')
  start = {'modernbert': ModernBertConfig(), 'nomic_bert': NOMIC, 'gte': GTE}[kind]
  fields: dict[str, Any] = {}
  for ours, theirs in _SIZES.items():
    value = next((content[each] for each in theirs if content.get(each) is not None), getattr(start, ours))
    if type(value) is not int or value < 1:
      raise UserError(f'has no whole number for {theirs[0]}, but {value!r}')
    fields[ours] = value
  for name in ('norm_eps', 'layer_norm_eps', 'layer_norm_epsilon'):
    if name in content:
      fields['norm_epsilon'] = float(content[name])
  if kind == 'modernbert':
    fields |= _of_modernbert(content, fields['num_layers'])
  else:
    fields['num_types'] = content.get('type_vocab_size', start.num_types)
    if type(fields['num_types']) is not int or fields['num_types'] < 0:
      raise UserError(f'says type_vocab_size={fields["num_types"]!r}, which is no whole number from 0 on')
    fields['rotary'] = _rotary(content, start.rotary.theta, fields['embed_dim'] // fields['num_heads'])
  if content.get('rotary_scaling_factor'):  # beyond what nomic-embed was trained on, angles would depend on the batch
    fields['context_length'] = min(fields['context_length'], int(content.get('max_trained_positions', 2048)))
  heads = ('pooler', 'score') if _scores(content) else ()
  try:
    return dataclasses.replace(start, **fields, heads=heads)
  except ValueError as error:
    raise UserError(f'does not fit together: {error}') from error


def _check_kinds(content: Mapping[str, Any]) -> None:
  """Raises UserError for a value of another kind than its name has, or a number that is none."""
  for name, value in content.items():
    if name in _LISTS and not isinstance(value, list):
      raise UserError(f'says {name}={value!r}, which is no list')
    if name in _OBJECTS:
      if not isinstance(value, dict):
        raise UserError(f'says {name}={value!r}, which is no object')
      _check_kinds({key: each for key, each in value.items() if each is not None})
    if name in _NUMBERS or name in _WHOLE:
      is_number = type(value) in ((int,) if name in _WHOLE else (int, float))
      if not is_number or not 0 < value < math.inf:
        raise UserError(f'says {name}={value!r}, which is no {"whole " if name in _WHOLE else ""}number above 0')


def _of_modernbert(content: Mapping[str, Any], num_layers: int) -> dict[str, Any]:
  every = content.get('global_attn_every_n_layers', 3)
  kinds = content.get('layer_types')
  if kinds is not None:
    whole = [place for place, kind in enumerate(kinds) if kind == 'full_attention']
    every = whole[1] if len(whole) > 1 else num_layers
    pattern = ['sliding_attention' if place % max(every, 1) else 'full_attention' for place in range(num_layers)]
    if list(kinds) != pattern:
      raise UserError('says layer_types that are not full_attention every so many layers, from the first on')
  rotations = content.get('rope_parameters') or {}
  theta = {}
  for ours, theirs, old in (
    ('rotary', 'full_attention', ('global_rope_theta', 160_000.0)),
    ('local_rotary', 'sliding_attention', ('local_rope_theta', 10_000.0)),
  ):
    said = rotations.get(theirs) or {}
    if said.get('rope_type', 'default') != 'default':
      raise UserError(f"says rope_parameters.{theirs}.rope_type={said['rope_type']!r}; only 'default' is supported")
    theta[ours] = RotaryConfig(theta=float(said.get('rope_theta', content.get(*old))))
  return {
    **theta,
    'full_every': every,
    'window': int(content.get('local_attention', 128)),
    'attention_bias': bool(content.get('attention_bias')),
    'norm_bias': bool(content.get('norm_bias')),
    'score_pooling': content.get('classifier_pooling', 'cls'),
  }


def _rotary(content: Mapping[str, Any], theta: float, head_dim: int) -> RotaryConfig:
  said = content.get('rope_parameters') or {}
  theta = float(said.get('rope_theta') or content.get('rope_theta') or content.get('rotary_emb_base') or theta)
  scaling = content.get('rope_scaling') or {}
  kind = scaling.get('type') or scaling.get('rope_type') or said.get('rope_type') or 'default'
  if kind == 'default':
    return RotaryConfig(theta=theta)
  factor = said.get('factor', scaling.get('factor', 0.0))
  if not factor and kind in ('linear', 'ntk'):
    raise UserError(f'says rope_scaling of the type {kind!r} without a factor')
  if kind == 'linear':
    return RotaryConfig(theta=theta, scaling='linear', factor=float(factor))
  if kind == 'ntk' and not scaling.get('mixed_b'):
    # Fixed NTK scaling, https://kexue.fm/archives/9706, equation 6.
    return RotaryConfig(theta=theta * factor, scaling='linear', factor=factor ** (2 / head_dim))
  raise UserError(
    f'says rope_scaling of the type {kind!r}; only default, linear, and ntk without mixed_b are supported'
  )


def layout(config: ModernBertConfig) -> Iterator[tuple[tuple[str, ...], str]]:
  """Their names and our path of every parameter but the head 'mlm', which is not read or written."""
  kind = kind_of(config)
  for part, theirs in _TOP[kind].items():
    if part in ('type_embedding', 'pooler', 'pooler_norm', 'score'):
      needed = {'type_embedding': config.num_types > 0, 'score': 'score' in config.heads}
      if not needed.get(part, 'score' in config.heads):
        continue
    biased = {'score': True, 'pooler': not config.pre_norm}.get(part, config.norm_bias)
    yield from _tensors((theirs,), part, biased=biased and not part.endswith('embedding'))
  for i in range(config.num_layers):
    for part, names in _PARTS[kind].items():
      if part == 'norm_1' and config.pre_norm and i == 0:
        continue
      biased = {'down': config.down_bias, 'gate_up': False}.get(
        part, config.norm_bias if 'norm' in part else config.attention_bias
      )
      yield from _tensors(tuple(_BLOCKS[kind].format(i) + name for name in names), f'blocks/{i}/{part}', biased=biased)


def _tensors(names: tuple[str, ...], path: str, *, biased: bool) -> Iterator[tuple[tuple[str, ...], str]]:
  last = '' if path.endswith('embedding') else '/scale' if 'norm' in path else '/kernel'
  yield tuple(f'{name}.weight' for name in names), path + last
  if biased:
    yield tuple(f'{name}.bias' for name in names), f'{path}/bias'


def their_shape(names: tuple[str, ...], path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape there of each of the tensors that are one parameter of `shape` here."""
  if path.endswith('/kernel'):
    is_in = 2 if '/out/' in path else 1  # axes of what comes in
    return int(np.prod(shape[is_in:])) // len(names), int(np.prod(shape[:is_in]))
  return (int(np.prod(shape)),) if path.endswith('/bias') else shape


def to_ours(parts: list[np.ndarray], path: str, shape: tuple[int, ...], config: ModernBertConfig) -> np.ndarray:
  """One parameter of ours, of one tensor of theirs or of two."""
  if not path.endswith('/kernel'):
    return np.ascontiguousarray(parts[0].reshape(shape))
  value = np.concatenate(parts).T.reshape(shape)
  return np.ascontiguousarray(value[:, ::-1] if _is_turned(path, config) else value)


def their_tensors(params: dict[str, Any], config: ModernBertConfig) -> Iterator[tuple[str, np.ndarray]]:
  """All parameters under their names."""
  prefix = _PREFIXES[kind_of(config)][0 if kind_of(config) != 'gte' else 1] if 'score' in config.heads else ''
  for names, path in layout(config):
    value = np.asarray(tensor_files.at(params, path), np.float32)
    shape = their_shape(names, path, value.shape)
    if path.endswith('/kernel'):
      value = value[:, ::-1] if _is_turned(path, config) else value
      parts = np.split(value.reshape(shape[1], -1).T, len(names))
    else:
      parts = [value.reshape(shape)]
    for name, part in zip(names, parts, strict=True):
      yield (name if name.startswith(_SCORERS) else prefix + name), np.ascontiguousarray(part)


def _is_turned(path: str, config: ModernBertConfig) -> bool:
  return '/gate_up/' in path and kind_of(config) == _GATES_SECOND


def config_json(config: ModernBertConfig) -> dict[str, Any]:
  """A config.json that transformers and `read_config` read."""
  kind = kind_of(config)
  head = 'ForSequenceClassification' if 'score' in config.heads else 'Model'
  content: dict[str, Any] = {
    'architectures': [_ARCHITECTURES[kind] + head],
    'model_type': kind,
    **{theirs[0]: getattr(config, ours) for ours, theirs in _SIZES.items()},
    'dtype': 'float32',
    **({'num_labels': 1, 'id2label': {'0': 'score'}, 'label2id': {'score': 0}} if 'score' in config.heads else {}),
  }
  if kind != 'modernbert':
    turned: dict[str, Any] = {'rope_type': 'default'}
    if config.rotary.scaling == 'linear':
      turned = {'rope_type': 'linear', 'factor': config.rotary.factor}
    return content | {
      'type_vocab_size': config.num_types,
      'layer_norm_eps': config.norm_epsilon,
      'hidden_act': config.activation,
      'rope_parameters': {**turned, 'rope_theta': config.rotary.theta},
      'pad_token_id': 1 if kind == 'gte' else 0,
    }
  of_layers = {'full_attention': config.rotary, 'sliding_attention': config.local_rotary}
  return content | {
    'norm_eps': config.norm_epsilon,
    'norm_bias': config.norm_bias,
    'attention_bias': config.attention_bias,
    'local_attention': config.window,
    'layer_types': [
      'sliding_attention' if layer % config.full_every else 'full_attention' for layer in range(config.num_layers)
    ],
    'rope_parameters': {name: {'rope_type': 'default', 'rope_theta': it.theta} for name, it in of_layers.items()},
    'classifier_pooling': config.score_pooling,
    'hidden_activation': config.activation,
    **dict.fromkeys(('pad_token_id', 'bos_token_id', 'eos_token_id', 'cls_token_id', 'sep_token_id')),
  }
