"""GPT-2 in the folder format of Hugging Face: config.json and model.safetensors."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from mlsd_jax import files, sealed, tokenizers
from mlsd_jax.data import hub, tensor_files
from mlsd_jax.errors import UserError
from mlsd_jax.models import gpt
from mlsd_jax.models.families import DecoderConfig
from mlsd_jax.tokenizers import tokenizer_json as huggingface_tokenizer

TOKENIZER = 'mlsd_tokenizer.json'  # ours; tokenizer.json is a format of Hugging Face's
GENERATION = 'generation_config.json'
_VOCABULARY = (huggingface_tokenizer.VOCAB, huggingface_tokenizer.MERGES)
BESIDES = (
  TOKENIZER,
  huggingface_tokenizer.FILES[0],
  *_VOCABULARY,
  *huggingface_tokenizer.BESIDES,
  GENERATION,
  'chat_template.jinja',
)
# Of tokenizers that are not read here; a folder with one of them has other ids than GPT-2's own.
_FOREIGN = ('vocab.txt', 'tokenizer.model', 'spiece.model', 'sentencepiece.bpe.model')
ORIGIN = 'mlsd_checkpoint.json'  # of what the parameters are
_WRITTEN = {'config.json', GENERATION, hub.WEIGHTS, TOKENIZER, ORIGIN, *huggingface_tokenizer.FILES}

_logger = logging.getLogger(__name__)

# Fields of GPTConfig that parameters fix; the others are a choice of who loads them.
OF_PARAMETERS = ('num_layers', 'num_heads', 'embed_dim', 'use_bias')

# Their names of one block (h.N.NAME) and ours (blocks/N/PATH). Their Conv1D weights are [in, out], as ours.
_BLOCK = {
  'ln_1.weight': 'norm_1/scale',
  'ln_1.bias': 'norm_1/bias',
  'attn.c_attn.weight': 'attention/qkv/kernel',
  'attn.c_attn.bias': 'attention/qkv/bias',
  'attn.c_proj.weight': 'attention/out/kernel',
  'attn.c_proj.bias': 'attention/out/bias',
  'ln_2.weight': 'norm_2/scale',
  'ln_2.bias': 'norm_2/bias',
  'mlp.c_fc.weight': 'mlp/up/kernel',
  'mlp.c_fc.bias': 'mlp/up/bias',
  'mlp.c_proj.weight': 'mlp/down/kernel',
  'mlp.c_proj.bias': 'mlp/down/bias',
}
_TOP = {
  'wte.weight': 'token_embedding',
  'wpe.weight': 'position_embedding',
  'ln_f.weight': 'final_norm/scale',
  'ln_f.bias': 'final_norm/bias',
}
# What config.json may say without changing the function that gpt.py computes; an absent key has the first value.
_FIXED: dict[str, tuple[Any, ...]] = {
  'model_type': ('gpt2',),
  'activation_function': ('gelu_new', 'gelu_pytorch_tanh'),
  'layer_norm_epsilon': (1e-5,),
  'scale_attn_weights': (True,),
  'scale_attn_by_inverse_layer_idx': (False,),
  'add_cross_attention': (False,),
  'tie_word_embeddings': (True,),
}


def load_gpt2(folder_or_name: str | os.PathLike[str], **options: Any) -> tuple[dict[str, Any], gpt.GPTConfig]:
  """Reads a GPT-2 from a Hugging Face folder, or by name from the hub.

  Args:
    folder_or_name: a folder with config.json and model.safetensors (or its shards and their index), else the name of a
      hub model, see hub.model_folder.
    **options: fields of GPTConfig that are a choice of ours and not of the file: scan_layers, vocab_multiple,
      attention, dropout, ... The parameters are laid out for them. A shorter context_length keeps the first positions.

  Returns:
    The parameters, float32 numpy arrays, and their config. Dropout is 0 unless an option says otherwise.

  Raises:
    UserError: a file is missing or damaged, a tensor is missing, unknown or of another shape, or the config is of an
      architecture that gpt.py does not have.
  """
  folder = hub.model_folder(folder_or_name, BESIDES)
  config = _read_config(folder)
  tensors = {name.removeprefix('transformer.'): tensor for name, tensor in tensor_files.read(folder, _is_parameter)}
  params: dict[str, Any] = {}
  for name, path, shape in _layout(config):
    if name not in tensors:
      raise UserError(f'{folder} lacks the tensor {name}, which its config.json calls for')
    tensor = tensors.pop(name)
    flat = _flat_shape(path, shape)
    if tensor.shape != flat:
      raise UserError(f'{folder}: tensor {name} has shape {tensor.shape}, but its config.json calls for {flat}')
    tensor_files.put(params, path, np.ascontiguousarray(tensor, dtype=np.float32).reshape(shape))
  head = tensors.pop('lm_head.weight', None)
  if head is not None and not np.array_equal(head.astype(np.float32), params['token_embedding']):
    raise UserError(f'{folder}: lm_head.weight differs from the token embedding; only tied heads are supported')
  if tensors:
    raise UserError(f'{folder} holds the tensor {min(tensors)}, which is none of a GPT-2 of {config.num_layers} layers')
  return convert(params, config, dataclasses.replace(config, **options))


def save_gpt2(
  params: dict[str, Any],
  config: gpt.GPTConfig,
  folder: str | os.PathLike[str],
  tokenizer: tokenizers.Tokenizer | None = None,
  made_of: Mapping[str, Any] | None = None,
) -> pathlib.Path:
  """Writes a folder that transformers.GPT2LMHeadModel.from_pretrained loads.

  Padding rows of the vocabulary are dropped; float32 and bfloat16 parameters keep their dtype. The tokenizer goes
  beside them as mlsd_tokenizer.json and, where their format can express it, as the tokenizer.json that AutoTokenizer
  loads. The folder appears whole or not at all; an earlier export there is replaced.

  Args:
    made_of: kept beside them for `origin`, such as the checkpoint's step.

  Raises:
    UserError: GPT-2 has no such model (use_bias=False), the folder holds other things, or it cannot be written.
  """
  if not config.use_bias:
    raise UserError('a model without biases (use_bias=False) is no GPT-2 and cannot be exported')
  folder = pathlib.Path(folder)
  refuse_other_content(folder)
  plain = dataclasses.replace(config, scan_layers=False, vocab_multiple=1)
  params, _ = convert(params, config, plain)
  tensors = {}
  for name, path, shape in _layout(plain):
    tensor = np.ascontiguousarray(tensor_files.at(params, path))
    tensors[f'transformer.{name}'] = tensor.reshape(_flat_shape(path, shape))
  end_of_text = tokenizer.end_of_text if tokenizer else 50256 if config.vocab_size == 50257 else None
  with files.atomic_folder(folder) as temporary:
    tensor_files.write(tensors, temporary / hub.WEIGHTS)
    files.write_json(temporary / 'config.json', _config_json(config, tensors, end_of_text))
    special = {'bos_token_id': end_of_text, 'eos_token_id': end_of_text}
    files.write_json(temporary / GENERATION, {'_from_model_config': True, **special})
    if made_of:
      sealed.write_json(temporary / ORIGIN, made_of)
    if tokenizer is not None:
      tokenizer.save(temporary / TOKENIZER)
      huggingface_tokenizer.save(tokenizer, temporary, config.context_length)
  return folder


def refuse_other_content(folder: pathlib.Path) -> None:
  """Raises UserError if something is there that no export wrote."""
  if folder.exists() and (not folder.is_dir() or {item.name for item in folder.iterdir()} - _WRITTEN):
    raise UserError(f'{folder} exists and is no earlier export; choose an empty or new folder')


def origin(folder: str | os.PathLike[str]) -> dict[str, Any] | None:
  """What `save_gpt2` was told its folder is made of; None if there is no such folder, or it was not told."""
  files.restore_folder(folder)
  path = pathlib.Path(folder) / ORIGIN
  return sealed.read_json(path) if path.exists() else None


def convert(
  params: dict[str, Any], config: gpt.GPTConfig, target: gpt.GPTConfig
) -> tuple[dict[str, Any], gpt.GPTConfig]:
  """The same model laid out for `target`: layers stacked or not, another vocabulary padding, fewer positions.

  Returns:
    Parameters as numpy arrays, and `target`.

  Raises:
    UserError: `target` is another model.
  """
  for field in ('vocab_size', *OF_PARAMETERS):
    if getattr(config, field) != getattr(target, field):
      raise UserError(f'{field}={getattr(target, field)} is asked for, but the model has {getattr(config, field)}')
  if target.context_length > config.context_length:
    raise UserError(
      f'context_length={target.context_length} is asked for, but the model has {config.context_length} positions'
    )
  params = {**jax.tree.map(np.asarray, params)}
  table = params['token_embedding'][: config.vocab_size]
  params['token_embedding'] = np.pad(table, ((0, target.padded_vocab_size - len(table)), (0, 0)))
  params['position_embedding'] = params['position_embedding'][: target.context_length]
  if config.scan_layers and not target.scan_layers:
    stacked = params['blocks']
    params['blocks'] = {str(i): jax.tree.map(lambda leaf: leaf[i], stacked) for i in range(config.num_layers)}
  elif target.scan_layers and not config.scan_layers:
    blocks = [params['blocks'][str(i)] for i in range(config.num_layers)]
    params['blocks'] = jax.tree.map(lambda *leaves: np.stack(leaves), *blocks)
  return params, target


def load_tokenizer(
  folder_or_name: str | os.PathLike[str], config: DecoderConfig, name: str = ''
) -> tokenizers.Tokenizer:
  """The tokenizer that save_gpt2 wrote beside the weights, else that of their tokenizer.json, else of their vocab.json
  and merges.txt; where there is none of these, the one named, else OpenAI's gpt2 where the vocabulary has its 50,257
  ids.

  What ends a text is what generation_config.json or config.json give as eos_token_id, else the eos_token of the
  tokenizer's files.

  Args:
    name: a name or path that `tokenizers.load` knows, for a folder without a tokenizer.

  Raises:
    UserError: none of them; one that is no byte-level BPE or has more ids than the model; or `name` for a folder that
      has its own.
  """
  folder = hub.model_folder(folder_or_name, BESIDES)
  own = next((folder / file for file in BESIDES[:3] if (folder / file).exists()), None)
  if own is not None and name:
    raise UserError(f'{folder} has its own tokenizer, {own.name}: leave {name!r} out')
  foreign = next((file for file in (_VOCABULARY[1], *_FOREIGN) if (folder / file).exists()), None)
  if own is not None and own.name == TOKENIZER:
    found = tokenizers.load(own)
  elif own is not None:
    found = _ended(huggingface_tokenizer.load(folder), folder)
  elif name:
    found = tokenizers.load(name)
  elif foreign is None and config.vocab_size == 50257:
    _logger.warning("%s holds no tokenizer; its 50,257 ids are taken for those of OpenAI's gpt2", folder)
    found = tokenizers.load('gpt2')
  else:
    there = f'{foreign}, which is not read here,' if foreign else f'no {TOKENIZER}, {", ".join(BESIDES[1:4])}'
    raise UserError(
      f'{folder} holds {there} and its {config.vocab_size} ids are not those of gpt2; '
      'name a tokenizer with --config.init_tokenizer=NAME_OR_FILE'
    )
  if found.vocab_size > config.vocab_size:
    raise UserError(f'{own or name} has {found.vocab_size} ids, the model beside it {config.vocab_size}')
  return found


def _ended(tokenizer: tokenizers.BPETokenizer, folder: pathlib.Path) -> tokenizers.BPETokenizer:
  """The tokenizer with the end of text that the model's own files name; several or a foreign one are told of."""
  named: list[int] = []
  for file in (GENERATION, 'config.json'):
    content = files.read_json(folder / file) if (folder / file).exists() else {}
    value = content.get('eos_token_id') if isinstance(content, dict) else None
    named += value if isinstance(value, list) else [] if value is None else [value]
  ids = [number for number in dict.fromkeys(named) if type(number) is int and 0 <= number < tokenizer.vocab_size]
  special = set(tokenizer.special_tokens.values())
  # An ordinary token beside a special one is GPT2Config's default of 50256, left as it was.
  ids.sort(key=lambda number: number not in special)
  if tokenizer.end_of_text is not None and ids and ids[0] not in special:
    ids = [tokenizer.end_of_text]
  ending = ids[0] if ids else tokenizer.end_of_text
  unused = [number for number in dict.fromkeys(named) if number != ending]
  if unused:
    _logger.warning('%s: of what it names as eos_token_id, %s ends no text here; %s does', folder, unused, ending)
  return tokenizer if ending is None else tokenizer.ended_by(ending)


def _is_parameter(name: str) -> bool:
  """Masks are buffers and no parameters."""
  return not name.endswith(('.attn.bias', '.attn.masked_bias'))


def _layout(config: gpt.GPTConfig) -> Iterator[tuple[str, str, tuple[int, ...]]]:
  """Their name, our path and our shape of every parameter of the unrolled, unpadded model."""
  plain = dataclasses.replace(config, scan_layers=False, vocab_multiple=1)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), plain))
  names = list(_TOP.items())
  names += [
    (f'h.{i}.{theirs}', f'blocks/{i}/{ours}') for i in range(config.num_layers) for theirs, ours in _BLOCK.items()
  ]
  for theirs, ours in names:
    yield theirs, ours, tensor_files.at(shapes, ours).shape


def _flat_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape they give the tensor: heads are not kept apart."""
  if path.endswith('/qkv/kernel'):
    return shape[0], int(np.prod(shape[1:]))
  if path.endswith('/out/kernel'):
    return int(np.prod(shape[:-1])), shape[-1]
  return (int(np.prod(shape)),) if path.endswith('/bias') else shape


def _read_config(folder: pathlib.Path) -> gpt.GPTConfig:
  path = folder / 'config.json'
  content = files.read_json(path)
  if not isinstance(content, dict):
    raise UserError(f'{path} is not a model config')
  for name, allowed in _FIXED.items():
    if (value := content.get(name, allowed[0])) not in allowed:
      raise UserError(f'{path} says {name}={value!r}; only {allowed[0]!r} is supported')
  sizes = {
    'vocab_size': content.get('vocab_size', 50257),
    'context_length': content.get('n_positions', 1024),
    'num_layers': content.get('n_layer', 12),
    'num_heads': content.get('n_head', 12),
    'embed_dim': content.get('n_embd', 768),
  }
  for name, value in sizes.items():
    if type(value) is not int or value < 1:
      raise UserError(f'{path} has no whole number for {name}, but {value!r}')
  if content.get('n_inner') not in (None, 4 * sizes['embed_dim']):
    raise UserError(f'{path} says n_inner={content["n_inner"]}; only 4 x n_embd is supported')
  try:
    return gpt.GPTConfig(**sizes)
  except ValueError as error:
    raise UserError(f'{path}: {error}') from error


def _config_json(config: gpt.GPTConfig, tensors: dict[str, np.ndarray], end_of_text: int | None) -> dict[str, Any]:
  return {
    'architectures': ['GPT2LMHeadModel'],
    'model_type': 'gpt2',
    'vocab_size': config.vocab_size,
    'n_positions': config.context_length,
    'n_layer': config.num_layers,
    'n_head': config.num_heads,
    'n_embd': config.embed_dim,
    'n_inner': None,
    'activation_function': 'gelu_new',
    'layer_norm_epsilon': 1e-5,
    'initializer_range': 0.02,
    **dict.fromkeys(('embd_pdrop', 'attn_pdrop', 'resid_pdrop'), config.dropout),
    'bos_token_id': end_of_text,
    'eos_token_id': end_of_text,
    'tie_word_embeddings': True,
    'dtype': tensors['transformer.wte.weight'].dtype.name,
  }
