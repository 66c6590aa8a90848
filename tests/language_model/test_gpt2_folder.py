"""Hugging Face folders: what they hold reaches our parameters and comes back, and damage is named."""

import dataclasses
import functools
import http.server
import json
import math
import os
import subprocess
import textwrap
import threading

import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from tokenizers import ByteLevelBPETokenizer

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.generation import Engine, GPTDecoder, Request, SamplingConfig
from mlsd_jax.language_model import gpt2_folder
from mlsd_jax.language_model.gpt2_folder import convert, load_gpt2, save_gpt2
from mlsd_jax.models import gpt

CONFIG = gpt.GPTConfig(vocab_size=53, context_length=32, num_layers=2, num_heads=2, embed_dim=16)
SETTINGS = {'model_type': 'gpt2', 'vocab_size': 53, 'n_positions': 32, 'n_layer': 2, 'n_head': 2, 'n_embd': 16}
apply = jax.jit(gpt.apply, static_argnums=2)


@functools.cache
def their_tensors():
  rng = np.random.default_rng(0)
  shapes = {'wte.weight': (53, 16), 'wpe.weight': (32, 16), 'ln_f.weight': (16,), 'ln_f.bias': (16,)}
  for i in range(2):
    for norm in ('ln_1', 'ln_2'):
      shapes |= {f'h.{i}.{norm}.weight': (16,), f'h.{i}.{norm}.bias': (16,)}
    for name, fan_in, fan_out in (
      ('attn.c_attn', 16, 48),
      ('attn.c_proj', 16, 16),
      ('mlp.c_fc', 16, 64),
      ('mlp.c_proj', 64, 16),
    ):
      shapes |= {f'h.{i}.{name}.weight': (fan_in, fan_out), f'h.{i}.{name}.bias': (fan_out,)}
  return {name: (0.3 * rng.normal(size=shape)).astype(np.float32) for name, shape in shapes.items()}


def random_params(config):
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), config))
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def names(folder):
  return sorted(item.name for item in folder.iterdir())


def write(folder, tensors=None, prefix='transformer.', extra=None, **settings):
  folder.mkdir(parents=True, exist_ok=True)
  (folder / 'config.json').write_text(json.dumps(SETTINGS | settings))
  tensors = {prefix + name: tensor for name, tensor in (tensors or their_tensors()).items()}
  safetensors.numpy.save_file(tensors | (extra or {}), folder / 'model.safetensors', metadata={'format': 'pt'})
  return folder


def their_logits(t, tokens):
  """The forward pass in their names and layout, float64, one sequence."""
  t = {name: tensor.astype(np.float64) for name, tensor in t.items()}

  def norm(x, name):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * t[f'{name}.weight'] + t[f'{name}.bias']

  def linear(x, name):
    return x @ t[f'{name}.weight'] + t[f'{name}.bias']

  x = t['wte.weight'][tokens] + t['wpe.weight'][: len(tokens)]
  for i in range(2):
    q, k, v = np.split(linear(norm(x, f'h.{i}.ln_1'), f'h.{i}.attn.c_attn'), 3, axis=-1)
    heads = []
    for columns in (slice(0, 8), slice(8, 16)):
      scores = q[:, columns] @ k[:, columns].T / math.sqrt(8)
      weights = np.exp(np.where(np.tri(len(x), dtype=bool), scores, -np.inf))
      heads.append(weights / weights.sum(-1, keepdims=True) @ v[:, columns])
    x = x + linear(np.concatenate(heads, axis=-1), f'h.{i}.attn.c_proj')
    h = linear(norm(x, f'h.{i}.ln_2'), f'h.{i}.mlp.c_fc')
    h = 0.5 * h * (1 + np.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
    x = x + linear(h, f'h.{i}.mlp.c_proj')
  return norm(x, 'ln_f') @ t['wte.weight'].T


TOKENS = np.random.default_rng(1).integers(0, 53, 20)


@pytest.mark.parametrize('prefix', ['', 'transformer.'])
def test_a_loaded_model_computes_their_forward_pass(tmp_path, prefix):
  buffers = {f'{prefix}h.0.attn.bias': np.ones((1, 1, 32, 32), np.float32), f'{prefix}h.1.attn.masked_bias': np.ones(1)}
  head = {'lm_head.weight': their_tensors()['wte.weight']}
  params, config = load_gpt2(write(tmp_path, prefix=prefix, extra=buffers | head))
  assert config == CONFIG
  np.testing.assert_allclose(apply(params, TOKENS[None], config)[0], their_logits(their_tensors(), TOKENS), atol=2e-5)


def test_options_lay_the_parameters_out(tmp_path):
  params, config = load_gpt2(write(tmp_path), scan_layers=True, vocab_multiple=64, dropout=0.2, context_length=20)
  assert config == dataclasses.replace(CONFIG, scan_layers=True, vocab_multiple=64, dropout=0.2, context_length=20)
  expected = jax.eval_shape(lambda: gpt.init(jax.random.key(0), config))
  chex.assert_trees_all_equal_shapes_and_dtypes(params, expected)
  np.testing.assert_allclose(apply(params, TOKENS[None], config)[0], their_logits(their_tensors(), TOKENS), atol=2e-5)


def test_shards_are_read_through_their_index(tmp_path):
  whole, _ = load_gpt2(write(tmp_path / 'whole'))
  folder = write(tmp_path / 'sharded')
  (folder / 'model.safetensors').unlink()
  tensors = sorted(their_tensors().items())
  files = {'model-00001-of-00002.safetensors': dict(tensors[:9]), 'model-00002-of-00002.safetensors': dict(tensors[9:])}
  for file, part in files.items():
    safetensors.numpy.save_file(part, folder / file)
  weight_map = {name: file for file, part in files.items() for name in part}
  (folder / 'model.safetensors.index.json').write_text(json.dumps({'metadata': {}, 'weight_map': weight_map}))
  chex.assert_trees_all_equal(load_gpt2(folder)[0], whole)
  (folder / 'model-00002-of-00002.safetensors').unlink()
  with pytest.raises(UserError, match=r'no such file: .*model-00002-of-00002'):
    load_gpt2(folder)
  (folder / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': {'wte.weight': '../secret'}}))
  with pytest.raises(UserError, match='not a file of its folder'):
    load_gpt2(folder)


@pytest.mark.parametrize('options', [{}, {'scan_layers': True}, {'vocab_multiple': 16}], ids=str)
def test_an_export_reads_back_as_it_was(tmp_path, options):
  config = dataclasses.replace(CONFIG, **options)
  params = random_params(config)
  save_gpt2(params, config, tmp_path / 'out')
  assert names(tmp_path) == ['out']
  assert names(tmp_path / 'out') == ['config.json', 'generation_config.json', 'model.safetensors']
  found, _ = load_gpt2(tmp_path / 'out', **options)
  real = lambda p: {**p, 'token_embedding': p['token_embedding'][:53]}
  chex.assert_trees_all_equal(real(found), real(params))


def test_an_export_has_their_names_shapes_and_no_padding(tmp_path):
  config = dataclasses.replace(CONFIG, vocab_multiple=16)
  params = random_params(config)
  save_gpt2(params, config, tmp_path / 'out')
  written = safetensors.numpy.load_file(tmp_path / 'out' / 'model.safetensors')
  assert {name: t.shape for name, t in written.items()} == {
    f'transformer.{name}': t.shape for name, t in their_tensors().items()
  }
  with safetensors.safe_open(tmp_path / 'out' / 'model.safetensors', 'numpy') as file:
    assert file.metadata() == {'format': 'pt'}


def test_bfloat16_stays_bfloat16(tmp_path):
  params = jax.tree.map(lambda leaf: leaf.astype(ml_dtypes.bfloat16), load_gpt2(write(tmp_path / 'in'))[0])
  save_gpt2(jax.tree.map(jnp.asarray, params), CONFIG, tmp_path / 'out')
  assert json.loads((tmp_path / 'out' / 'config.json').read_text())['dtype'] == 'bfloat16'
  found, _ = load_gpt2(tmp_path / 'out')
  chex.assert_trees_all_equal(found, jax.tree.map(lambda leaf: leaf.astype(np.float32), params))


def test_a_tokenizer_travels_with_the_export(tmp_path):
  tokenizer = tokenizers.CharacterTokenizer('abc')
  config = dataclasses.replace(CONFIG, vocab_size=tokenizer.vocab_size)
  save_gpt2(random_params(config), config, tmp_path / 'out', tokenizer)
  assert gpt2_folder.load_tokenizer(tmp_path / 'out', config).fingerprint == tokenizer.fingerprint
  with pytest.raises(UserError, match='name a tokenizer'):
    gpt2_folder.load_tokenizer(tmp_path, CONFIG)


def test_a_tokenizer_json_is_read_where_ours_is_not_there(tmp_path):
  tokenizer = tokenizers.BPETokenizer.train(['low lower lowest'] * 3, 262)
  config = dataclasses.replace(CONFIG, vocab_size=tokenizer.vocab_size)
  save_gpt2(random_params(config), config, tmp_path / 'out', tokenizer)
  (tmp_path / 'out' / gpt2_folder.TOKENIZER).unlink()
  found = gpt2_folder.load_tokenizer(tmp_path / 'out', config)
  assert list(found.encode('a slower lowland')) == list(tokenizer.encode('a slower lowland'))
  with pytest.raises(UserError, match='has 262 ids, the model beside it 53'):
    gpt2_folder.load_tokenizer(tmp_path / 'out', CONFIG)


def their_tokenizer(folder, special=('<s>', '<pad>', '</s>')):
  """A vocab.json and merges.txt beside the weights, and the config of the model."""
  folder.mkdir(parents=True, exist_ok=True)
  theirs = ByteLevelBPETokenizer()
  theirs.train_from_iterator(
    ['low lower lowest'] * 3, vocab_size=280, special_tokens=list(special), show_progress=False
  )
  theirs.save_model(str(folder))
  return theirs, dataclasses.replace(CONFIG, vocab_size=theirs.get_vocab_size())


@pytest.mark.parametrize('vocab_size', [None, 50257])
def test_a_vocabulary_of_their_own_is_read_whatever_its_size(tmp_path, vocab_size):
  theirs, config = their_tokenizer(tmp_path)
  config = dataclasses.replace(config, vocab_size=vocab_size or config.vocab_size)
  found = gpt2_folder.load_tokenizer(tmp_path, config)
  text = 'a slower lowland, naïve 日本語'
  assert found.encode(text).tolist() == theirs.encode(text).ids


@pytest.mark.parametrize('other', ['vocab.txt', 'tokenizer.model', 'spiece.model', 'merges.txt'])
def test_a_foreign_tokenizer_is_not_taken_for_openais(tmp_path, other):
  (tmp_path / other).write_text('')
  with pytest.raises(UserError, match=rf'{other}, which is not read here.*--config.init_tokenizer'):
    gpt2_folder.load_tokenizer(tmp_path, dataclasses.replace(CONFIG, vocab_size=50257))


def test_a_tokenizer_is_named_for_a_folder_without_one_and_for_no_other(tmp_path):
  config = dataclasses.replace(CONFIG, vocab_size=300)
  (tmp_path / 'bare').mkdir()
  assert gpt2_folder.load_tokenizer(tmp_path / 'bare', config, 'bytes').name == 'bytes'
  with pytest.raises(UserError, match='bytes has 257 ids, the model beside it 53'):
    gpt2_folder.load_tokenizer(tmp_path / 'bare', CONFIG, 'bytes')
  their_tokenizer(tmp_path / 'own')
  with pytest.raises(UserError, match=r"has its own tokenizer, vocab\.json: leave 'bytes' out"):
    gpt2_folder.load_tokenizer(tmp_path / 'own', config, 'bytes')


@pytest.mark.parametrize(
  ('generation', 'config_json', 'special_map', 'expected', 'told'),
  [
    (None, 2, None, 2, False),
    (2, 0, None, 2, True),
    (2, None, None, 2, False),
    ([2, 1], None, None, 2, True),
    (None, None, '</s>', 2, False),
    (None, 50256, '</s>', 2, True),  # GPT2Config's default, which the vocabulary does not reach
    (None, 50256, None, None, True),
    (None, 100, '</s>', 2, True),  # an ordinary token beside a special one
    (None, 100, None, 100, False),
    (None, 'x', '</s>', 2, True),
  ],
)
def test_what_ends_a_text_is_what_their_files_say(
  tmp_path, caplog, generation, config_json, special_map, expected, told
):
  _, config = their_tokenizer(tmp_path)
  write = lambda name, content: (tmp_path / name).write_text(json.dumps(content))
  if generation is not None:
    write('generation_config.json', {'eos_token_id': generation})
  write('config.json', SETTINGS | ({} if config_json is None else {'eos_token_id': config_json}))
  if special_map is not None:
    write('special_tokens_map.json', {'eos_token': special_map})
  assert gpt2_folder.load_tokenizer(tmp_path, config).end_of_text == expected
  assert ('eos_token_id' in caplog.text) == told


def test_an_end_of_text_of_their_own_stops_samples_and_goes_back(tmp_path):
  _, config = their_tokenizer(tmp_path)
  (tmp_path / 'special_tokens_map.json').write_text(json.dumps({'eos_token': '</s>'}))
  tokenizer = gpt2_folder.load_tokenizer(tmp_path, config)
  save_gpt2(random_params(config), config, tmp_path / 'out', tokenizer)
  for name in ('config.json', 'generation_config.json'):
    assert json.loads((tmp_path / 'out' / name).read_text())['eos_token_id'] == 2
  assert json.loads((tmp_path / 'out' / 'tokenizer_config.json').read_text())['eos_token'] == '</s>'
  for _ in range(2):  # ours, then theirs
    again = gpt2_folder.load_tokenizer(tmp_path / 'out', config)
    assert (again.end_of_text, again.encode('lower').tolist()) == (2, tokenizer.encode('lower').tolist())
    (tmp_path / 'out' / gpt2_folder.TOKENIZER).unlink(missing_ok=True)


@pytest.mark.parametrize('name', ['pytorch_model.bin', 'pytorch_model-00001-of-00002.bin'])
def test_pickled_weights_are_not_read_and_the_way_out_is_shown(tmp_path, name):
  (write(tmp_path) / 'model.safetensors').unlink()
  (tmp_path / name).write_bytes(b'')
  with pytest.raises(UserError, match=rf'holds {name}, a pickle, .* python -c "import glob, torch') as caught:
    load_gpt2(tmp_path)
  assert '\n' not in str(caught.value)


def test_an_earlier_export_is_replaced_and_nothing_else(tmp_path):
  params, config = load_gpt2(write(tmp_path / 'in'))
  save_gpt2(jax.tree.map(np.zeros_like, params), config, tmp_path / 'out')
  save_gpt2(params, config, tmp_path / 'out')
  chex.assert_trees_all_equal(load_gpt2(tmp_path / 'out')[0], params)
  (tmp_path / 'out' / 'thesis.tex').write_text('precious')
  with pytest.raises(UserError, match='no earlier export'):
    save_gpt2(params, config, tmp_path / 'out')
  assert (tmp_path / 'out' / 'thesis.tex').read_text() == 'precious'


def test_a_failed_export_leaves_the_earlier_one(tmp_path, monkeypatch):
  params, config = load_gpt2(write(tmp_path / 'in'))
  save_gpt2(params, config, tmp_path / 'out')

  def full(*args, **kwargs):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(safetensors.numpy, 'save_file', full)
  with pytest.raises(UserError, match='No space left on device; nothing that stood there was changed'):
    save_gpt2(jax.tree.map(np.zeros_like, params), config, tmp_path / 'out')
  assert names(tmp_path) == ['in', 'out']
  chex.assert_trees_all_equal(load_gpt2(tmp_path / 'out')[0], params)


def test_models_that_are_no_gpt2_are_not_exported(tmp_path):
  config = dataclasses.replace(CONFIG, use_bias=False)
  with pytest.raises(UserError, match='use_bias=False'):
    save_gpt2({}, config, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def without(name):
  return {key: tensor for key, tensor in their_tensors().items() if key != name}


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'tensors': without('h.1.mlp.c_fc.bias')}, r'lacks the tensor h\.1\.mlp\.c_fc\.bias'),
    ({'extra': {'transformer.h.2.ln_1.bias': np.zeros(16, np.float32)}}, r'h\.2\.ln_1\.bias.* none of a GPT-2'),
    ({'vocab_size': 54}, r'wte\.weight has shape \(53, 16\), but its config\.json calls for \(54, 16\)'),
    ({'n_layer': 3}, r'lacks the tensor h\.2\.'),
    ({'extra': {'lm_head.weight': np.zeros((53, 16), np.float32)}}, 'only tied heads'),
    ({'model_type': 'llama'}, "model_type='llama'"),
    ({'activation_function': 'relu'}, "activation_function='relu'"),
    ({'layer_norm_epsilon': 1e-6}, 'layer_norm_epsilon=1e-06'),
    ({'scale_attn_by_inverse_layer_idx': True}, 'scale_attn_by_inverse_layer_idx=True'),
    ({'tie_word_embeddings': False}, 'tie_word_embeddings=False'),
    ({'n_inner': 32}, 'n_inner=32'),
    ({'n_head': 3}, 'embed_dim 16 is not divisible by num_heads 3'),
    ({'n_layer': 'two'}, "no whole number for num_layers, but 'two'"),
  ],
  ids=lambda value: None if isinstance(value, dict) else value,
)
def test_what_does_not_fit_is_named(tmp_path, change, message):
  with pytest.raises(UserError, match=message) as error:
    load_gpt2(write(tmp_path, **change))
  assert '\n' not in str(error.value)


def test_missing_and_damaged_files_are_named(tmp_path):
  folder = write(tmp_path / 'model')
  content = (folder / 'model.safetensors').read_bytes()
  (folder / 'model.safetensors').write_bytes(content[: len(content) // 2])
  with pytest.raises(UserError, match=r'model\.safetensors is damaged'):
    load_gpt2(folder)
  (folder / 'model.safetensors').unlink()
  with pytest.raises(UserError, match=r'no such file: .*model\.safetensors'):
    load_gpt2(folder)
  (folder / 'config.json').write_text('{"n_layer": ')
  with pytest.raises(UserError, match='not valid JSON'):
    load_gpt2(folder)
  (folder / 'config.json').unlink()
  with pytest.raises(UserError, match=r'no such file: .*config\.json'):
    load_gpt2(folder)


def test_conversion_refuses_another_model():
  params, config = {}, CONFIG
  with pytest.raises(UserError, match='num_layers=3 is asked for, but the model has 2'):
    convert(params, config, dataclasses.replace(config, num_layers=3))
  with pytest.raises(UserError, match='context_length=64 is asked for, but the model has 32'):
    convert(params, config, dataclasses.replace(config, context_length=64))


class TestHub:
  @pytest.fixture(autouse=True)
  def hub(self, tmp_path, monkeypatch):
    """A hub on this machine that has the model 'someone/small'."""
    write(tmp_path / 'hub' / 'someone' / 'small' / 'resolve' / 'main')
    handler = functools.partial(QuietHandler, directory=tmp_path / 'hub')
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{server.server_port}')
    monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'cache'))
    monkeypatch.setitem(__import__('sys').modules, 'huggingface_hub', None)  # as where it is not installed
    yield tmp_path / 'hub'
    server.shutdown()
    server.server_close()
    thread.join()

  def test_a_model_is_downloaded_once(self, hub, tmp_path):
    params, config = load_gpt2('someone/small')
    assert config == CONFIG
    (hub / 'someone' / 'small' / 'resolve' / 'main' / 'model.safetensors').unlink()
    chex.assert_trees_all_equal(load_gpt2('someone/small')[0], params)

  def test_its_tokenizer_comes_with_it(self, hub):
    tokenizer = tokenizers.BPETokenizer.train(['low lower lowest'] * 3, 262)
    main = hub / 'someone' / 'small' / 'resolve' / 'main'
    save_gpt2(random_params(config := dataclasses.replace(CONFIG, vocab_size=262)), config, main, tokenizer)
    (main / gpt2_folder.TOKENIZER).unlink()
    load_gpt2('someone/small')
    found = gpt2_folder.load_tokenizer('someone/small', config)
    assert list(found.encode('lower')) == list(tokenizer.encode('lower'))

  def test_shards_are_downloaded_where_there_is_no_single_file(self, hub):
    main = hub / 'someone' / 'small' / 'resolve' / 'main'
    (main / 'model.safetensors').rename(main / 'model-00001-of-00001.safetensors')
    weight_map = {f'transformer.{name}': 'model-00001-of-00001.safetensors' for name in their_tensors()}
    (main / 'model.safetensors.index.json').write_text(json.dumps({'weight_map': weight_map}))
    assert load_gpt2('someone/small')[1] == CONFIG

  def test_pickled_weights_are_named(self, hub):
    main = hub / 'someone' / 'small' / 'resolve' / 'main'
    (main / 'model.safetensors').rename(main / 'pytorch_model.bin')
    with pytest.raises(UserError, match=r'someone/small has its weights as pytorch_model\.bin alone'):
      load_gpt2('someone/small')

  def test_an_unknown_name_is_answered_in_one_line(self):
    with pytest.raises(UserError, match=r'no folder nobody/nothing.* cannot be downloaded .*404.*http://127') as error:
      load_gpt2('nobody/nothing')
    assert '\n' not in str(error.value)

  def test_offline_the_folder_and_the_address_are_named(self, monkeypatch, tmp_path):
    monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:9')
    with pytest.raises(UserError, match=r'http://127\.0\.0\.1:9/gpt2/resolve/main/model\.safetensors') as error:
      load_gpt2('gpt2')
    assert str(tmp_path / 'cache' / 'huggingface' / 'gpt2') in str(error.value)

  def test_what_is_neither_folder_nor_name_is_not_looked_up(self):
    with pytest.raises(UserError, match=r'\./no/such/folder is no folder'):
      load_gpt2('./no/such/folder')


class QuietHandler(http.server.SimpleHTTPRequestHandler):
  def log_message(self, format, *args):
    pass


PEER = textwrap.dedent("""
  import sys, numpy as np, torch
  from transformers import GPT2Config, GPT2LMHeadModel
  task, folder, out, *sizes = sys.argv[1:]
  if task == 'make':
    vocab, context, layers, heads, width = map(int, sizes)
    torch.manual_seed(0)
    special = {'bos_token_id': None, 'eos_token_id': None}
    config = GPT2Config(vocab_size=vocab, n_positions=context, n_embd=width, n_layer=layers, n_head=heads,
                        initializer_range=0.05, **special)
    model = GPT2LMHeadModel(config).eval()
    for parameter in model.parameters():
      parameter.data += 0.02 * torch.randn_like(parameter)
    model.save_pretrained(folder)
  else:
    model = GPT2LMHeadModel.from_pretrained(folder).eval()
  tokens = torch.from_numpy(np.random.default_rng(0).integers(0, model.config.vocab_size, (2, 48)))
  with torch.no_grad():
    logits = model(tokens).logits.numpy()
    greedy = model.generate(tokens[:, :16], attention_mask=torch.ones(2, 16), max_new_tokens=64, do_sample=False,
                            pad_token_id=0).numpy()
  np.savez(out, tokens=tokens.numpy(), logits=logits, greedy=greedy)
""")


@pytest.mark.skipif(
  'MLSD_PEER_PYTHON' not in os.environ, reason='MLSD_PEER_PYTHON names no interpreter with torch and transformers'
)
@pytest.mark.parametrize(
  'sizes',
  [(211, 96, 3, 4, 32), pytest.param((50257, 1024, 12, 12, 768), marks=pytest.mark.slow)],
  ids=['small', '124M'],
)
def test_transformers_and_we_agree(tmp_path, sizes):
  """Their model here, and our export of it there: the same logits, and the same 64 tokens by greedy decoding."""

  def peer(task, folder, out):
    command = [os.environ['MLSD_PEER_PYTHON'], '-c', PEER, task, folder, out, *map(str, sizes)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return np.load(out)

  theirs = peer('make', tmp_path / 'theirs', tmp_path / 'theirs.npz')
  params, config = load_gpt2(tmp_path / 'theirs')
  logits = apply(params, theirs['tokens'], config)
  difference = np.abs(logits - theirs['logits']).max()
  print(f'max abs difference of logits: {difference:.2e} where they spread by {theirs["logits"].std():.2f}')
  assert difference < 1e-4

  engine = Engine(GPTDecoder(config, config.vocab_size), params, slots=2, max_length=80)
  found = [theirs['tokens'][row, :16].tolist() for row in range(2)]
  for prompt in list(found):
    engine.submit(Request(list(prompt), SamplingConfig(temperature=0.0), max_tokens=64))
  while engine.busy:
    for event in engine.step():
      found[event.id] += event.tokens
  np.testing.assert_array_equal(found, theirs['greedy'])

  save_gpt2(params, config, tmp_path / 'ours')
  back = peer('load', tmp_path / 'ours', tmp_path / 'ours.npz')
  np.testing.assert_array_equal(back['logits'], theirs['logits'])
