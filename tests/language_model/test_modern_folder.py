"""Llama, Qwen and SmolLM2 folders: numbers that transformers gave for the same tensors, and what is refused."""

import dataclasses
import json
import os
import pathlib
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from mlsd_jax.errors import UserError
from mlsd_jax.generation.decoders import make_decoder
from mlsd_jax.generation.engine import Engine
from mlsd_jax.generation.requests import Request
from mlsd_jax.generation.sampling import GREEDY
from mlsd_jax.language_model import modern_folder, pretrained
from mlsd_jax.models import modern_gpt
from mlsd_jax.training import step

SHAPE = {
  'vocab_size': 97, 'hidden_size': 24, 'intermediate_size': 40, 'num_hidden_layers': 2, 'num_attention_heads': 4,
  'num_key_value_heads': 2, 'max_position_embeddings': 128, 'rms_norm_eps': 1e-5,
}  # fmt: skip
CONFIGS = {
  'llama': {'model_type': 'llama', 'tie_word_embeddings': False},
  'llama3': {
    'model_type': 'llama', 'tie_word_embeddings': True, 'rope_theta': 5e5,
    'rope_scaling': {
      'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0, 'high_freq_factor': 4.0,
      'original_max_position_embeddings': 16,
    },
  },
  'qwen2': {
    'model_type': 'qwen2', 'use_sliding_window': True, 'sliding_window': 7, 'max_window_layers': 1,
    'rope_parameters': {
      'rope_type': 'yarn', 'rope_theta': 1e4, 'factor': 4.0, 'original_max_position_embeddings': 32
    },
  },
  'qwen3': {'model_type': 'qwen3', 'head_dim': 8, 'tie_word_embeddings': True},
}  # fmt: skip
TOKENS = (np.arange(20) * 31 % 97)[None]
# Logits [:4] behind the last token, and the next 8 by greedy decoding, as transformers 5.24 and torch 2.13 gave them.
EXPECTED: dict[str, tuple[list[float], list[int]]] = {
  'llama': ([0.0773, 0.49804, -1.11397, -0.81286], [87, 53, 45, 11, 82, 89, 48, 35]),
  'llama3': ([-0.13323, 0.35159, -0.48879, -1.63796], [91, 56, 40, 40, 40, 55, 91, 20]),
  'qwen2': ([-0.81718, -1.44783, 1.1921, 0.19929], [15, 85, 17, 15, 15, 85, 71, 8]),
  'qwen3': ([-1.14831, 0.69502, -1.04185, -0.30443], [20, 72, 19, 20, 20, 20, 20, 20]),
}


def draw(shapes):
  """Tensors by name: numbers that any NumPy draws alike."""
  rng = np.random.default_rng(7)
  return {
    name: (0.25 * rng.standard_normal(shapes[name]) + ('norm' in name)).astype(np.float32) for name in sorted(shapes)
  }


def write_folder(folder: pathlib.Path, kind: str, **changes):
  """What transformers would save, with tensors of `draw`."""
  folder.mkdir(exist_ok=True)
  content = SHAPE | CONFIGS[kind]
  width, inner, head = content['hidden_size'], content['intermediate_size'], content.get('head_dim', 6)
  queries, keys = 4 * head, 2 * head
  shapes = {'model.embed_tokens.weight': (97, width), 'model.norm.weight': (width,)}
  if not content.get('tie_word_embeddings'):
    shapes['lm_head.weight'] = (97, width)
  for layer in range(2):
    block = {
      'input_layernorm.weight': (width,), 'post_attention_layernorm.weight': (width,),
      'self_attn.q_proj.weight': (queries, width), 'self_attn.k_proj.weight': (keys, width),
      'self_attn.v_proj.weight': (keys, width), 'self_attn.o_proj.weight': (width, queries),
      'mlp.gate_proj.weight': (inner, width), 'mlp.up_proj.weight': (inner, width),
      'mlp.down_proj.weight': (width, inner),
    }  # fmt: skip
    if kind == 'qwen2':
      block |= {
        f'self_attn.{letter}_proj.bias': (size,) for letter, size in zip('qkv', (queries, keys, keys), strict=True)
      }
    if kind == 'qwen3':
      block |= {f'self_attn.{letter}_norm.weight': (head,) for letter in 'qk'}
    shapes |= {f'model.layers.{layer}.{name}': shape for name, shape in block.items()}
  safetensors.numpy.save_file(draw(shapes), folder / 'model.safetensors')
  (folder / 'config.json').write_text(json.dumps(content | changes))
  return folder


def greedy(params, config, prompt, length):
  engine = Engine(make_decoder(config, config.vocab_size), params, slots=1, max_length=len(prompt) + length)
  engine.submit(Request(prompt, GREEDY, max_tokens=length))
  found = []
  while engine.busy:
    for event in engine.step():
      found += event.tokens
  return found


@pytest.mark.parametrize('kind', CONFIGS)
def test_logits_and_greedy_text_are_those_of_transformers(tmp_path, kind):
  params, config = modern_folder.load_modern(write_folder(tmp_path, kind))
  logits, text = EXPECTED[kind]
  found = jax.jit(modern_gpt.apply, static_argnums=2)(params, TOKENS, config)
  np.testing.assert_allclose(found[0, -1, :4], logits, atol=1e-4)
  assert greedy(params, config, TOKENS[0], 8) == text


def test_an_export_holds_the_same_tensors_whatever_the_layout(tmp_path):
  """Of layers stacked and a vocabulary padded; the config comes back, too."""
  for kind in CONFIGS:
    folder = write_folder(tmp_path / kind, kind)
    params, config = modern_folder.load_modern(folder)
    target = dataclasses.replace(config, scan_layers=not config.window, vocab_multiple=64)
    laid_out, _ = modern_folder.convert(params, config, target)
    out = modern_folder.save_modern(laid_out, target, tmp_path / f'{kind}_out')
    read = [safetensors.numpy.load_file(each / 'model.safetensors') for each in (folder, out)]
    assert read[0].keys() == read[1].keys()
    for name, tensor in read[0].items():
      np.testing.assert_array_equal(read[1][name], tensor, err_msg=name)
    assert modern_folder.read_config(out) == config


def test_shards_and_bfloat16_are_read(tmp_path):
  import ml_dtypes

  whole = safetensors.numpy.load_file(write_folder(tmp_path, 'llama') / 'model.safetensors')
  narrow = {name: tensor.astype(ml_dtypes.bfloat16) for name, tensor in whole.items()}
  files = {name: f'model-0000{number % 2 + 1}-of-00002.safetensors' for number, name in enumerate(sorted(narrow))}
  for file in set(files.values()):
    safetensors.numpy.save_file({name: narrow[name] for name in narrow if files[name] == file}, tmp_path / file)
  (tmp_path / 'model.safetensors').unlink()
  (tmp_path / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': files}))
  params, _ = modern_folder.load_modern(tmp_path)
  expected = whole['model.layers.1.mlp.up_proj.weight'].astype(ml_dtypes.bfloat16).astype(np.float32).T
  np.testing.assert_array_equal(params['blocks']['1']['mlp']['up']['kernel'], expected)


@pytest.mark.parametrize(
  ('changes', 'says'),
  [
    ({'model_type': 'gemma2'}, r"says model_type='gemma2'; only gpt2, llama, qwen2, qwen3"),
    ({'hidden_act': 'gelu'}, r"says hidden_act='gelu'; only 'silu'"),
    ({'attention_bias': True}, 'says attention_bias=True'),
    ({'rope_scaling': {'type': 'dynamic', 'factor': 2.0}}, r"says rope_type='dynamic'; only default"),
    ({'rope_scaling': {'type': 'yarn', 'factor': 2.0, 'mscale': 0.7}}, 'says mscale=0.7 of its rotary positions'),
    ({'layer_types': ['full_attention', 'chunked_attention']}, 'says layer_types='),
    ({'num_hidden_layers': 3}, r'lacks the tensor model\.layers\.2\.'),
    ({'num_hidden_layers': 1}, r'holds the tensor model\.layers\.1\.'),
    ({'intermediate_size': 41}, r'has shape \((24, 40|40, 24)\), but its config\.json calls for'),
    ({'vocab_size': '97'}, 'no whole number above 0 for vocab_size'),
    ({'num_key_value_heads': 3}, 'num_heads 4 is not divisible by num_kv_heads 3'),
  ],
  ids=str,
)
def test_what_differs_is_named_and_nothing_is_loaded(tmp_path, changes, says):
  with pytest.raises(UserError, match=says):
    modern_folder.load_modern(write_folder(tmp_path, 'llama', **changes))


def test_what_no_architecture_has_is_not_exported(tmp_path):
  _, config = modern_folder.load_modern(write_folder(tmp_path, 'llama'))
  for changes, says in (
    ({'logit_softcap': 15.0}, 'logit_softcap=15.0 is in none of llama, qwen2, qwen3'),
    ({'qkv_bias': True, 'qk_norm': True}, 'qkv_bias and qk_norm together'),
  ):
    with pytest.raises(UserError, match=says):
      modern_folder.save_modern({}, dataclasses.replace(config, **changes), tmp_path / 'out')
  with pytest.raises(UserError, match='context_length=200 is asked for'):
    pretrained.load(f'hf:{tmp_path}', tokenizer='bytes', context_length=200)


PEER = """
import json, sys
import numpy as np, torch
from transformers import AutoConfig, AutoModelForCausalLM
folder, length = sys.argv[1], int(sys.argv[2])
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation='eager').eval()
tokens = torch.tensor([[i * 31 % 97 for i in range(20)]])
with torch.no_grad():
  logits = model(tokens).logits
  text = model.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=length, do_sample=False,
                        pad_token_id=0, eos_token_id=None)
  narrow = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation='eager').eval()
  narrow = narrow(tokens).logits.float()
said = {'logits': logits[0].tolist(), 'text': text[0, 20:].tolist(), 'bfloat16': narrow[0].tolist()}
print(json.dumps(said))
"""


@pytest.mark.skipif(
  'MLSD_PEER_PYTHON' not in os.environ, reason='MLSD_PEER_PYTHON names no interpreter with torch and transformers'
)
@pytest.mark.parametrize('kind', CONFIGS)
def test_transformers_and_we_agree(tmp_path, kind):
  """Their folder here, and our export of it there: the same logits, and the same 64 tokens by greedy decoding."""

  def peer(folder):
    command = [os.environ['MLSD_PEER_PYTHON'], '-c', PEER, folder, '64']
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)

  theirs = peer(write_folder(tmp_path / 'theirs', kind))
  print(f"  '{kind}': ({[round(x, 5) for x in theirs['logits'][-1][:4]]}, {theirs['text'][:8]}),")
  params, config = modern_folder.load_modern(tmp_path / 'theirs')
  logits = jax.jit(modern_gpt.apply, static_argnums=2)(params, TOKENS, config)
  assert np.abs(logits[0] - np.array(theirs['logits'])).max() < 1e-4
  assert greedy(params, config, TOKENS[0], 64) == theirs['text']
  # In bfloat16 each of the two rounds where its products and norms end; neither may be further from float32 by much.
  narrow = jax.jit(modern_gpt.apply, static_argnums=2)(step.cast_floating(params, jnp.bfloat16), TOKENS, config)
  exact, rounded = (np.array(theirs[name]) for name in ('logits', 'bfloat16'))
  ours_off, theirs_off = (np.abs(np.asarray(each, np.float32) - exact) for each in (narrow[0], rounded))
  print(f'  {kind} in bfloat16, off float32: ours {ours_off.mean():.5f}, theirs {theirs_off.mean():.5f}')
  assert ours_off.mean() < 1.5 * theirs_off.mean()
  assert ours_off.max() < 2 * theirs_off.max()
  ours = peer(modern_folder.save_modern(params, config, tmp_path / 'ours'))
  np.testing.assert_allclose(ours['logits'], theirs['logits'], atol=2e-5)
  assert ours['text'] == theirs['text']
