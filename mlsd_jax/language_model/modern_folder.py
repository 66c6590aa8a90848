"""Llama 3, Qwen 2.5 and 3, SmolLM2 in the folder format of Hugging Face: config.json and safetensors, both ways."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from mlsd_jax import files, sealed, tokenizers
from mlsd_jax.data import hub, tensor_files
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import gpt2_folder
from mlsd_jax.models import modern_gpt
from mlsd_jax.models.modern_gpt import ModernGPTConfig
from mlsd_jax.models.rotary import RotaryConfig
from mlsd_jax.tokenizers import tokenizer_json

MODEL_TYPES = ('llama', 'qwen2', 'qwen3')
# Fields of ModernGPTConfig that are a choice of who loads parameters; these fix all others.
CHOICES = ('context_length', 'attention', 'scan_layers', 'remat', 'vocab_multiple', 'loss_chunks')
OF_PARAMETERS = tuple(
  field.name for field in dataclasses.fields(ModernGPTConfig) if field.name not in ('vocab_size', *CHOICES)
)

# Their names of one block (model.layers.N.NAME) and ours (blocks/N/PATH). Their weights are [out, in], ours [in, *out].
_BLOCK = {
  'input_layernorm.weight': 'norm_1/scale',
  **{
    f'self_attn.{letter}_proj.{theirs}': f'attention/{name}/{ours}'
    for letter, name in (('q', 'query'), ('k', 'key'), ('v', 'value'), ('o', 'out'))
    for theirs, ours in (('weight', 'kernel'), ('bias', 'bias'))
  },
  'self_attn.q_norm.weight': 'attention/query_norm/scale',
  'self_attn.k_norm.weight': 'attention/key_norm/scale',
  'post_attention_layernorm.weight': 'norm_2/scale',
  'mlp.gate_proj.weight': 'mlp/gate/kernel',
  'mlp.up_proj.weight': 'mlp/up/kernel',
  'mlp.down_proj.weight': 'mlp/down/kernel',
}
_TOP = {
  'model.embed_tokens.weight': 'token_embedding',
  'model.norm.weight': 'final_norm/scale',
  'lm_head.weight': 'head',
}
# What config.json may say without changing the function that modern_gpt.py computes; an absent key has the first value.
_FIXED: dict[str, tuple[Any, ...]] = {
  'hidden_act': ('silu', 'swish'),
  'attention_bias': (False,),
  'mlp_bias': (False,),
  'pretraining_tp': (1,),
  'attention_dropout': (0.0, 0),
  'quantization_config': (None,),
}


def is_modern(folder: pathlib.Path) -> bool:
  """Whether the config.json of a folder is one of MODEL_TYPES, and not GPT-2's."""
  content = files.read_json(folder / 'config.json')
  return isinstance(content, dict) and content.get('model_type') in MODEL_TYPES


def load_modern(folder: pathlib.Path, **options: Any) -> tuple[dict[str, Any], ModernGPTConfig]:
  """Reads a decoder of MODEL_TYPES from a folder with config.json and model.safetensors, or its shards and their index.

  Args:
    options: fields of ModernGPTConfig among CHOICES. The parameters are laid out for them.

  Returns:
    The parameters, float32 numpy arrays, and their config.

  Raises:
    UserError: a file is missing or damaged, a tensor is missing, unknown or of another shape, or the config is of an
      architecture that modern_gpt.py does not have; what differs is named.
  """
  config = read_config(folder)
  wanted = {name: (path, shape) for name, path, shape in _layout(config)}
  params: dict[str, Any] = {}
  head = None
  for name, tensor in tensor_files.read(folder, lambda name: not name.endswith('rotary_emb.inv_freq')):
    if name == 'lm_head.weight' and config.tied_head:
      head = tensor
      continue
    if name not in wanted:
      raise UserError(f'{folder} holds the tensor {name}, which its config.json does not call for')
    path, shape = wanted.pop(name)
    flat = _flat_shape(path, shape)
    if tensor.shape != flat:
      raise UserError(f'{folder}: tensor {name} has shape {tensor.shape}, but its config.json calls for {flat}')
    tensor = tensor.T if path.endswith('/kernel') else tensor
    tensor_files.put(params, path, np.ascontiguousarray(tensor, dtype=np.float32).reshape(shape))
  if wanted:
    raise UserError(f'{folder} lacks the tensor {min(wanted)}, which its config.json calls for')
  if head is not None and not np.array_equal(head.astype(np.float32), params['token_embedding']):
    raise UserError(f'{folder}: lm_head.weight differs from the token embedding, but config.json ties them')
  return convert(params, config, dataclasses.replace(config, **options))


def save_modern(
  params: dict[str, Any],
  config: ModernGPTConfig,
  folder: str | os.PathLike[str],
  tokenizer: tokenizers.Tokenizer | None = None,
  made_of: Mapping[str, Any] | None = None,
) -> pathlib.Path:
  """Writes a folder that transformers.AutoModelForCausalLM loads; the rest is as gpt2_folder.save_gpt2 has it.

  Raises:
    UserError: none of MODEL_TYPES has this model (what differs is named), the folder holds other things, or it cannot
      be written.
  """
  model_type = _model_type(config)
  folder = pathlib.Path(folder)
  gpt2_folder.refuse_other_content(folder)
  params, plain = convert(params, config, dataclasses.replace(config, scan_layers=False, vocab_multiple=1))
  tensors = {}
  for name, path, shape in _layout(plain):
    tensor = np.asarray(tensor_files.at(params, path)).reshape(_kernel_shape(path, shape))
    tensors[name] = np.ascontiguousarray(tensor.T if path.endswith('/kernel') else tensor)
  end_of_text = tokenizer.end_of_text if tokenizer else None
  with files.atomic_folder(folder) as temporary:
    tensor_files.write(tensors, temporary / hub.WEIGHTS)
    content = _config_json(config, model_type) | {'eos_token_id': end_of_text}
    content['dtype'] = tensors['model.embed_tokens.weight'].dtype.name
    files.write_json(temporary / 'config.json', content)
    files.write_json(temporary / gpt2_folder.GENERATION, {'_from_model_config': True, 'eos_token_id': end_of_text})
    if made_of:
      sealed.write_json(temporary / gpt2_folder.ORIGIN, made_of)
    if tokenizer is not None:
      tokenizer.save(temporary / gpt2_folder.TOKENIZER)
      tokenizer_json.save(tokenizer, temporary, config.context_length)
  return folder


def convert(
  params: dict[str, Any], config: ModernGPTConfig, target: ModernGPTConfig
) -> tuple[dict[str, Any], ModernGPTConfig]:
  """The same model laid out for `target`: layers stacked or not, another vocabulary padding, a shorter context.

  Returns:
    Parameters as numpy arrays, and `target`.

  Raises:
    UserError: `target` is another model.
  """
  for field in dataclasses.fields(config):
    own, other = getattr(config, field.name), getattr(target, field.name)
    if field.name not in CHOICES and own != other:
      raise UserError(f'{field.name}={other} is asked for, but the model has {own}')
  if target.context_length > config.context_length:
    raise UserError(
      f'context_length={target.context_length} is asked for, but the model was trained for {config.context_length}'
    )
  params = {**jax.tree.map(np.asarray, params)}
  pad = lambda table: np.pad(table[: config.vocab_size], ((0, target.padded_vocab_size - config.vocab_size), (0, 0)))
  for name in ('token_embedding', 'head', 'value_embeddings'):
    if name in params:
      params[name] = jax.tree.map(pad, params[name])
  numbers = [str(layer) for layer in range(config.num_layers)]
  if config.scan_layers and not target.scan_layers:
    stacked = params['blocks']
    params['blocks'] = {i: jax.tree.map(lambda leaf: leaf[int(i)], stacked) for i in numbers}
  elif target.scan_layers and not config.scan_layers:
    blocks = [params['blocks'][i] for i in numbers]
    params['blocks'] = jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
  return params, target


def read_config(folder: pathlib.Path) -> ModernGPTConfig:
  """The config that a folder's config.json calls for.

  Raises:
    UserError: it is of another architecture; what differs is named.
  """
  path = folder / 'config.json'
  content = files.read_json(path)
  kind = content.get('model_type') if isinstance(content, dict) else None
  if kind not in MODEL_TYPES:
    raise UserError(f'{path} says model_type={kind!r}; only gpt2, {", ".join(MODEL_TYPES)} are supported')
  for name, allowed in _FIXED.items():
    if (value := content.get(name, allowed[0])) not in allowed:
      raise UserError(f'{path} says {name}={value!r}; only {allowed[0]!r} is supported')

  def number(name: str, default: Any = None, of: Any = int) -> Any:
    value: Any = content.get(name)
    value = default if value is None else value
    if type(value) is not of or value <= 0:
      raise UserError(f'{path} has no {"whole " if of is int else ""}number above 0 for {name}, but {value!r}')
    return value

  layers, heads, width = number('num_hidden_layers'), number('num_attention_heads'), number('hidden_size')
  context = number('max_position_embeddings')
  window, pattern = _read_windows(content, layers, path)
  try:
    return ModernGPTConfig(
      vocab_size=number('vocab_size'),
      context_length=context,
      num_layers=layers,
      num_heads=heads,
      embed_dim=width,
      num_kv_heads=number('num_key_value_heads', heads),
      head_dim=number('head_dim', 128 if kind == 'qwen3' else max(width // heads, 1)),
      mlp_dim=number('intermediate_size'),
      norm_epsilon=number('rms_norm_eps', 1e-6, float),
      qkv_bias=kind == 'qwen2',
      qk_norm=kind == 'qwen3',
      rotary=_read_rotary(content, context, path),
      window=window,
      window_pattern=pattern,
      tied_head=content.get('tie_word_embeddings') is True,
    )
  except (ValueError, UserError) as error:
    raise error if str(path) in str(error) else UserError(f'{path}: {error}') from error


def _read_rotary(content: dict[str, Any], context: int, path: pathlib.Path) -> RotaryConfig:
  """Of 'rope_parameters', as transformers 5 writes them, or of 'rope_theta' and 'rope_scaling'."""
  said = content.get('rope_parameters') or content.get('rope_scaling') or {}
  kind = said.get('rope_type', said.get('type', 'default'))
  theta = float(said.get('rope_theta', content.get('rope_theta', 10_000.0)))
  known = {'rope_type', 'type', 'rope_theta'}
  options: dict[str, Any] = {}
  if kind in ('linear', 'llama3', 'yarn'):
    options = {'scaling': kind, 'factor': float(said['factor'])}
    known |= {'factor'}
  elif kind != 'default':
    raise UserError(f'{path} says rope_type={kind!r}; only default, linear, llama3 and yarn are supported')
  if kind in ('llama3', 'yarn'):
    # YaRN's factor is of the context that a model is stretched to, where the first one is not told.
    options['original_length'] = int(said.get('original_max_position_embeddings') or context)
    slow, fast = ('low_freq_factor', 'high_freq_factor') if kind == 'llama3' else ('beta_slow', 'beta_fast')
    options |= {
      'slow': float(said.get(slow) or 1.0),
      'fast': float(said.get(fast) or (4.0 if kind == 'llama3' else 32.0)),
    }
    known |= {'original_max_position_embeddings', slow, fast}
  if kind == 'yarn':
    options['attention_factor'] = float(said.get('attention_factor') or 0.0)
    known |= {'attention_factor'}
  other = next((name for name, value in said.items() if name not in known and value not in (None, 1.0)), None)
  if other is not None:
    raise UserError(f'{path} says {other}={said[other]!r} of its rotary positions, which is not supported')
  return RotaryConfig(theta=theta, **options)


def _read_windows(content: dict[str, Any], layers: int, path: pathlib.Path) -> tuple[int, str]:
  window = content.get('sliding_window')
  kinds = content.get('layer_types')
  if kinds is None:
    if not content.get('use_sliding_window') or not window:
      return 0, 'L'
    full = content.get('max_window_layers', layers)
    kinds = ['full_attention'] * full + ['sliding_attention'] * (layers - full)
  letters = {'full_attention': 'L', 'sliding_attention': 'S'}
  unknown = next((kind for kind in kinds if kind not in letters), None)
  if unknown is not None or len(kinds) != layers:
    raise UserError(
      f'{path} says layer_types={kinds!r}; only full_attention and sliding_attention, one a layer, are read'
    )
  pattern = ''.join(letters[kind] for kind in kinds)
  if 'S' not in pattern:
    return 0, 'L'
  if type(window) is not int or window < 1:
    raise UserError(f'{path} has sliding_attention among its layer_types, but sliding_window={window!r}')
  return window, pattern


def _model_type(config: ModernGPTConfig) -> str:
  default = ModernGPTConfig(vocab_size=1, context_length=1, num_layers=1, num_heads=1, embed_dim=2)
  for name in (
    'activation', 'norm_scale', 'attention_scale', 'embedding_norm', 'logit_softcap', 'value_residual',
    'value_embeddings',
  ):  # fmt: skip
    if getattr(config, name) != getattr(default, name):
      raise UserError(f'{name}={getattr(config, name)!r} is in none of {", ".join(MODEL_TYPES)}: it cannot be exported')
  if config.qkv_bias and config.qk_norm:
    raise UserError(f'qkv_bias and qk_norm together are in none of {", ".join(MODEL_TYPES)}: it cannot be exported')
  kind = 'qwen2' if config.qkv_bias else 'qwen3' if config.qk_norm else 'llama'
  if config.window and kind == 'llama':
    raise UserError(f'window={config.window} is in no llama: it cannot be exported')
  if kind == 'qwen2' and config.width_of_head * config.num_heads != config.embed_dim:
    raise UserError(f'head_dim={config.width_of_head} is in no qwen2 {config.embed_dim} wide: it cannot be exported')
  return kind


def _config_json(config: ModernGPTConfig, model_type: str) -> dict[str, Any]:
  turns = config.rotary
  scaling: dict[str, Any] | None = None
  if turns.scaling != 'none':
    scaling = {'rope_type': turns.scaling, 'factor': turns.factor}
  if turns.scaling in ('llama3', 'yarn'):
    slow, fast = ('low_freq_factor', 'high_freq_factor') if turns.scaling == 'llama3' else ('beta_slow', 'beta_fast')
    scaling = {**(scaling or {}), 'original_max_position_embeddings': turns.original_length}
    scaling |= {slow: turns.slow, fast: turns.fast}
    scaling |= {'attention_factor': turns.attention_factor} if turns.attention_factor else {}
  windows = {
    'use_sliding_window': bool(config.window),
    'sliding_window': config.window or None,
    'max_window_layers': config.num_layers,
    'layer_types': ['sliding_attention' if window else 'full_attention' for window in config.windows],
  }
  return {
    'architectures': [{'llama': 'Llama', 'qwen2': 'Qwen2', 'qwen3': 'Qwen3'}[model_type] + 'ForCausalLM'],
    'model_type': model_type,
    'vocab_size': config.vocab_size,
    'hidden_size': config.embed_dim,
    'intermediate_size': config.inner_dim,
    'num_hidden_layers': config.num_layers,
    'num_attention_heads': config.num_heads,
    'num_key_value_heads': config.kv_heads,
    'head_dim': config.width_of_head,
    'hidden_act': 'silu',
    'max_position_embeddings': config.context_length,
    'initializer_range': config.init_stddev,
    'rms_norm_eps': config.norm_epsilon,
    'tie_word_embeddings': config.tied_head,
    'rope_theta': turns.theta,
    'rope_scaling': scaling,
    'attention_bias': False,
    'attention_dropout': 0.0,
    'bos_token_id': None,
    **({'mlp_bias': False} if model_type == 'llama' else windows),
  }


def _layout(config: ModernGPTConfig) -> Iterator[tuple[str, str, tuple[int, ...]]]:
  """Their name, our path and our shape of every parameter of the unrolled, unpadded model."""
  plain = dataclasses.replace(config, scan_layers=False, vocab_multiple=1)
  shapes = jax.eval_shape(lambda: modern_gpt.init(jax.random.key(0), plain))
  names = list(_TOP.items())
  names += [
    (f'model.layers.{i}.{theirs}', f'blocks/{i}/{ours}')
    for i in range(config.num_layers)
    for theirs, ours in _BLOCK.items()
  ]
  for theirs, ours in names:
    try:
      leaf = tensor_files.at(shapes, ours)
    except KeyError:  # biases, norms of queries and keys, a head: not of every model
      continue
    yield theirs, ours, leaf.shape


def _kernel_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  """Ours with all inputs and all outputs as one axis each."""
  if not path.endswith('/kernel'):
    return (int(np.prod(shape)),) if path.endswith('/bias') else shape
  inputs = len(shape) - 1 if path.endswith('/out/kernel') else 1
  return int(np.prod(shape[:inputs])), int(np.prod(shape[inputs:]))


def _flat_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape they give the tensor."""
  flat = _kernel_shape(path, shape)
  return flat[::-1] if path.endswith('/kernel') else flat
