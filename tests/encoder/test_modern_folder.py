"""ModernBERT, nomic-embed and gte: written folders load again, and what a config asks for beyond them is named."""

import dataclasses
import json

import jax
import numpy as np
import pytest
import safetensors.numpy

from mlsd_jax.encoder import model_folder, modern_folder
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.encoder.examples import Pair
from mlsd_jax.encoder.model_folder import Loaded
from mlsd_jax.encoder.training import ContrastiveConfig, train_contrastive
from mlsd_jax.errors import UserError
from mlsd_jax.models import bert, modern_bert, rotary
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer
from mlsd_jax.training.config import TrainConfig

SMALL = dict(vocab_size=300, context_length=32, num_layers=4, num_heads=2, embed_dim=8, mlp_dim=12)
ROLES = ('[CLS]', '[SEP]', '[PAD]', '[MASK]', '[UNK]')
BYTES = BPETokenizer.train(['a few words to begin with'] * 3, 270, special_tokens=ROLES)
WORDS = WordPieceTokenizer.train(['a few words to begin with'] * 3, 40)
CONFIGS = {
  'modernbert': dataclasses.replace(modern_bert.ModernBertConfig(), **SMALL, window=6),
  'nomic_bert': dataclasses.replace(modern_bert.NOMIC, **SMALL),
  'gte': dataclasses.replace(modern_bert.GTE, **SMALL),
}


def model(kind, heads=()):
  config = dataclasses.replace(CONFIGS[kind], heads=heads)
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: bert.init(jax.random.key(0), config))
  params = jax.tree.map(lambda leaf: rng.standard_normal(leaf.shape, np.float32), shapes)
  return Loaded(kind, params, config, BYTES if kind == 'modernbert' else WORDS, 'cls', 16, 'ask: ', '')


@pytest.mark.parametrize('heads', [(), ('pooler', 'score')])
@pytest.mark.parametrize('kind', CONFIGS)
def test_what_was_saved_loads_again(tmp_path, kind, heads):
  saved = model(kind, heads)
  folder = model_folder.save(saved, tmp_path / 'small')
  loaded = model_folder.load(folder)
  assert jax.tree.all(jax.tree.map(np.array_equal, loaded.params, saved.params))
  assert loaded.config == saved.config == dataclasses.replace(model_folder.read_config(folder), heads=heads)
  assert loaded.tokenizer.first_ids('a few naïve words', None) == saved.tokenizer.first_ids('a few naïve words', None)
  assert (loaded.max_length, loaded.query_prefix) == (16, 'ask: ')


REFUSED = {
  'modernbert': [
    ({'local_attention': 'x'}, "local_attention='x'"),
    ({'local_attention': -1}, 'local_attention=-1'),
    ({'rope_parameters': 3}, 'rope_parameters=3'),
    ({'rope_parameters': {'full_attention': 3}}, 'full_attention=3'),
    ({'architectures': 3}, 'architectures=3'),
    ({'layer_types': 'x'}, "layer_types='x'"),
    ({'norm_eps': -1}, 'norm_eps=-1'),
    ({'global_rope_theta': '160000'}, "global_rope_theta='160000'"),
    ({'classifier_pooling': 'max'}, "score_pooling='max' is neither"),
    ({'mlp_bias': True}, 'mlp_bias=True'),
    ({'hidden_activation': 'relu'}, "hidden_activation='relu'"),
    ({'layer_types': ['sliding_attention'] * 4}, 'layer_types'),
    ({'rope_parameters': {'full_attention': {'rope_type': 'yarn'}}}, "full_attention.rope_type='yarn'"),
    ({'hidden_size': 9}, 'embed_dim 9'),
    ({'num_hidden_layers': 'x'}, 'num_hidden_layers'),
  ],
  'nomic_bert': [
    ({'moe_every_n_layers': 2}, 'moe_every_n_layers=2'),
    ({'prenorm': True}, 'prenorm=True'),
    ({'rotary_emb_fraction': 0.5}, 'rotary_emb_fraction=0.5'),
  ],
  'gte': [
    ({'logn_attention_scale': True}, 'logn_attention_scale=True'),
    ({'rope_scaling': {'type': 'ntk', 'factor': 2.0, 'mixed_b': 0.5}}, "rope_scaling of the type 'ntk'"),
    ({'rope_parameters': {'rope_type': 'dynamic'}}, "rope_scaling of the type 'dynamic'"),
  ],
}


@pytest.mark.parametrize(
  ('kind', 'change', 'named'), [(k, *each) for k, several in REFUSED.items() for each in several]
)
def test_what_a_config_asks_for_beyond_it_is_named(tmp_path, kind, change, named):
  path = model_folder.save(model(kind), tmp_path / 'small') / 'config.json'
  path.write_text(json.dumps(json.loads(path.read_text()) | change))
  with pytest.raises(UserError, match='config.json.*' + named):
    model_folder.load(path.parent)


def test_tensors_that_do_not_fit_are_named(tmp_path):
  folder = model_folder.save(model('modernbert'), tmp_path / 'small')
  tensors = safetensors.numpy.load_file(folder / 'model.safetensors')
  assert 'layers.0.attn_norm.weight' not in tensors  # which ModernBERT does not have
  more = {'layers.0.attn_norm.weight': np.ones(8, np.float32), 'decoder.bias': np.ones(300, np.float32)}
  safetensors.numpy.save_file(tensors | more, folder / 'model.safetensors')
  with pytest.raises(UserError, match=r'holds the tensor layers.0.attn_norm.weight, which is none of a modernbert'):
    model_folder.load(folder)


def test_another_frame_around_texts_is_refused(tmp_path):
  folder = model_folder.save(model('modernbert'), tmp_path / 'small')
  content = json.loads((folder / 'tokenizer.json').read_text())
  content['post_processor']['single'].pop()
  (folder / 'tokenizer.json').write_text(json.dumps(content))
  with pytest.raises(UserError, match=r'is not \[CLS\] A \[SEP\] B \[SEP\]'):
    model_folder.load(folder)


def test_nomic_as_its_authors_name_it():
  theirs = {'model_type': 'nomic_bert', 'n_embd': 64, 'n_head': 4, 'n_inner': 96, 'n_layer': 3, 'n_positions': 8192}
  theirs |= {'rotary_emb_base': 500, 'rotary_scaling_factor': 2, 'max_trained_positions': 1024, 'vocab_size': 99}
  config = modern_folder.read_config(theirs)
  assert (config.embed_dim, config.num_heads, config.mlp_dim, config.num_layers) == (64, 4, 96, 3)
  assert (config.context_length, config.rotary.theta) == (1024, 500.0)


def test_gte_stretches_its_angles_as_published():
  scaling = {'rope_theta': 20_000, 'rope_scaling': {'type': 'ntk', 'factor': 8.0}}
  config = modern_folder.read_config({'model_type': 'new', **scaling})
  pairs = np.arange(0, 64, 2) / 64
  expected = (20_000 * 8.0) ** -pairs / 8.0 ** (2 / 64)
  np.testing.assert_allclose(rotary.compute_frequencies(config.rotary, 64), expected, rtol=1e-5)


def test_a_word_weighting_head_is_left_out(tmp_path):
  """gte-multilingual-base carries one under the classifier's name, and is no scorer of pairs."""
  folder = model_folder.save(model('gte'), tmp_path / 'small')
  tensors = safetensors.numpy.load_file(folder / 'model.safetensors')
  more = {f'new.{name}': tensor for name, tensor in tensors.items()}
  more |= {'classifier.weight': np.ones((1, 8), np.float32), 'new.pooler.dense.bias': np.ones(8, np.float32)}
  safetensors.numpy.save_file(more, folder / 'model.safetensors')
  content = json.loads((folder / 'config.json').read_text())
  content |= {'model_type': 'new', 'architectures': ['NewModel', 'NewForTokenClassification']}
  (folder / 'config.json').write_text(json.dumps(content))
  loaded = model_folder.load(folder)
  assert loaded.config.heads == ()
  assert jax.tree.all(jax.tree.map(np.array_equal, loaded.params, model('gte').params))


def test_a_window_hides_what_is_far():
  """What a layer of windows makes of a token depends on no token further away than half the window."""
  config = dataclasses.replace(CONFIGS['modernbert'], num_layers=2, full_every=2)
  params = bert.init(jax.random.key(0), config)
  for part in ('out', 'down'):  # the first layer, which sees everything, passes on what it reads
    params['blocks']['0'][part] = jax.tree.map(np.zeros_like, params['blocks']['0'][part])
  tokens, mask = np.arange(20)[None], np.ones((1, 20), bool)
  before = bert.apply(params, tokens, mask, config)[0, 10]
  for away, is_seen in ((3, True), (4, False), (-3, True), (-4, False)):
    changed = tokens.copy()
    changed[0, 10 + away] = 200
    assert np.array_equal(before, bert.apply(params, changed, mask, config)[0, 10]) != is_seen


def test_padding_and_batch_do_not_matter():
  for config in CONFIGS.values():
    params = bert.init(jax.random.key(1), config)
    tokens = np.arange(1, 21).reshape(2, 10)
    alone = bert.embed(params, tokens[:1, :7], np.ones((1, 7), bool), config, 'mean')
    mask = np.arange(10) < np.array([[7], [10]])
    np.testing.assert_allclose(bert.embed(params, tokens, mask, config, 'mean')[0], alone[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize('kind', CONFIGS)
def test_a_step_of_training_changes_it(tmp_path, kind):
  pairs = [Pair(f'words {n}', f'a few words to begin with {n}') for n in range(8)]
  encoder = Encoder(model(kind))
  config = ContrastiveConfig(TrainConfig(steps=1, batch_size=8), query_length=8, passage_length=16, dropout=0.1)
  trained, _ = train_contrastive(encoder, pairs, config, tmp_path / 'run')
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.model.params))
  changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), trained.model.params, encoder.model.params)
  assert changed['blocks']['3']['gate_up']['kernel']
  assert changed['blocks']['0']['qkv']['kernel']
