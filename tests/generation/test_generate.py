"""Text in, samples out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mlsd_jax import tokenizers, tuning
from mlsd_jax.errors import UserError
from mlsd_jax.generation import row_padding
from mlsd_jax.generation.decoders import GPTDecoder
from mlsd_jax.generation.generate import generate
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.models import bigram, gpt

BYTES = tokenizers.ByteTokenizer()
CONFIG = gpt.GPTConfig(vocab_size=300, vocab_multiple=64, context_length=32, num_layers=1, num_heads=2, embed_dim=16)
GREEDY = SamplingConfig(temperature=0.0)


@functools.cache
def params():
  rng = np.random.default_rng(0)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), CONFIG))
  return jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape, np.float32)), shapes)


def successor():
  """A model that recites the alphabet, round and round; any other byte is followed by 'a'.

  The MLP turns the one-hot of a letter into that of the next; everything else is zero.
  """
  config = gpt.GPTConfig(vocab_size=257, context_length=32, num_layers=1, num_heads=1, embed_dim=64)
  shapes = jax.eval_shape(lambda: gpt.init(jax.random.key(0), config))
  zero = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
  code = np.full(257, 26)
  code[ord('a') : ord('z') + 1] = np.arange(26)
  table = np.zeros((257, 64), np.float32)
  table[np.arange(257), code] = 1
  table[code == 26, 27 + np.arange((code == 26).sum()) % 30] = 1  # the others are less like 'a' than 'a' is
  block = zero['blocks']['0']
  block['norm_2'] = {'scale': np.ones(64, np.float32), 'bias': np.zeros(64, np.float32)}
  up, down = block['mlp']['up']['kernel'], block['mlp']['down']['kernel']
  for letter in range(27):
    up[letter, letter] = 10.0
    down[letter, 0 if letter >= 25 else letter + 1] = 10.0
  zero['final_norm'] = {'scale': np.full(64, 10.0, np.float32), 'bias': np.zeros(64, np.float32)}
  return {**zero, 'token_embedding': table}, config


def test_text_continues_the_prompt():
  params, config = successor()
  sample = generate(params, config, BYTES, ['abc'], sampling=GREEDY, max_new_tokens=30)[0]
  assert sample.text == 'defghijklmnopqrstuvwxyzabcdefg'
  assert (sample.prompt, sample.finish, sample.prompt_index, sample.sample_index) == ('abc', 'length', 0, 0)
  np.testing.assert_array_equal(sample.tokens, BYTES.encode(sample.text))


def test_stop_strings_may_straddle_tokens_and_dispatches():
  params, config = successor()
  options = dict(sampling=GREEDY, max_new_tokens=30, steps_per_dispatch=3)
  first, second = generate(params, config, BYTES, ['a', 'x'], stop=['ijk', 'cd'], **options)
  assert (first.text, first.finish) == ('b', 'stop')
  assert (second.text, second.finish) == ('yzab', 'stop')
  assert bytes(first.tokens.tolist()) == b'bcd'


def test_end_of_text_ends_a_row_and_is_no_text():
  shifted, config = successor()
  table = shifted['token_embedding'].copy()
  table[[ord('g'), BYTES.end_of_text]] = table[[BYTES.end_of_text, ord('g')]]
  sample = generate({**shifted, 'token_embedding': table}, config, BYTES, ['c'], sampling=GREEDY, max_new_tokens=9)[0]
  assert (sample.text, sample.finish) == ('def', 'end_of_text')
  assert sample.tokens.tolist() == [*b'def', BYTES.end_of_text]


def test_streamed_text_joins_to_the_samples():
  streamed = {}
  options = dict(num_samples=4, max_new_tokens=40, stop=['e'], batch_size=4)
  samples = generate(
    params(),
    CONFIG,
    BYTES,
    ['one', ''],
    on_text=lambda row, piece: streamed.update({row: streamed.get(row, '') + piece}),
    **options,
  )
  assert [streamed.get(row, '') for row in range(8)] == [sample.text for sample in samples]
  assert [(sample.prompt_index, sample.sample_index) for sample in samples] == [
    (p, s) for p in range(2) for s in range(4)
  ]


def test_samples_depend_on_seed_prompt_and_number_only():
  options = dict(max_new_tokens=12, sampling=SamplingConfig(temperature=2.0))
  texts = lambda samples: [sample.tokens.tolist() for sample in samples]
  all_of_them = texts(generate(params(), CONFIG, BYTES, ['ab', 'a longer prompt'], num_samples=3, **options))
  assert len({tuple(tokens) for tokens in all_of_them}) == 6
  assert texts(generate(params(), CONFIG, BYTES, ['ab'], num_samples=2, batch_size=1, **options)) == all_of_them[:2]
  fewer = generate(params(), CONFIG, BYTES, ['ab', 'a longer prompt'], num_samples=2, batch_size=3, **options)
  assert texts(fewer) == [all_of_them[i] for i in (0, 1, 3, 4)]
  assert texts(generate(params(), CONFIG, BYTES, ['ab'], seed=1, **options)) != all_of_them[:1]


def test_only_ids_of_the_tokenizer_are_sampled():
  sampling = SamplingConfig(temperature=100.0, banned=(BYTES.end_of_text, 7))
  samples = generate(params(), CONFIG, BYTES, ['a'], num_samples=8, max_new_tokens=200, sampling=sampling)
  found = set(np.concatenate([sample.tokens for sample in samples]).tolist())
  assert found <= set(range(256)) - {7}
  assert len(found) > 240


def test_an_empty_prompt_starts_from_the_end_of_text_else_a_line_break():
  def tokens(tokenizer, prompt):
    samples = generate(params(), CONFIG, tokenizer, [prompt], sampling=GREEDY, max_new_tokens=5)
    return samples[0].tokens.tolist()

  assert tokens(BYTES, '') == tokens(BYTES, np.array([BYTES.end_of_text]))
  lines = tokenizers.CharacterTokenizer('\nabc')
  assert tokens(lines, '') == tokens(lines, '\n')
  no_lines = tokenizers.CharacterTokenizer('abc')
  assert tokens(no_lines, '') == tokens(no_lines, 'a')


def test_bfloat16_parameters_decode():
  half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), successor()[0])
  assert generate(half, successor()[1], BYTES, ['abc'], sampling=GREEDY, max_new_tokens=4)[0].text == 'defg'


@pytest.mark.parametrize('rows', row_padding.CANDIDATES)
def test_padding_with_rows_changes_no_text(monkeypatch, tmp_path, rows):
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path))
  half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), successor()[0])
  assert row_padding.smallest_rows(half) == row_padding.CANDIDATES[0]
  assert not list(tmp_path.iterdir())  # so small a model is not worth a measurement
  monkeypatch.setattr(row_padding, '_WORTH', 0)
  monkeypatch.setenv(tuning.VARIABLE, 'turned kernels=0')
  assert row_padding.smallest_rows(half) in row_padding.CANDIDATES
  assert list((tmp_path / 'choices').iterdir())
  monkeypatch.setenv(tuning.VARIABLE, f'turned kernels=0, bfloat16 rows={rows}')
  assert row_padding.smallest_rows(half) == rows
  assert row_padding.smallest_rows(successor()[0]) == 1
  assert generate(half, successor()[1], BYTES, ['abc'], sampling=GREEDY, max_new_tokens=4)[0].text == 'defg'


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_turned_kernels_change_no_text(monkeypatch, tmp_path, dtype):
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path))
  params = jax.tree.map(lambda leaf: leaf.astype(dtype), successor()[0])
  assert row_padding.place_kernels(params) is params  # too small to be worth it
  monkeypatch.setattr(row_padding, '_WORTH', 0)
  for turned in (0, 1):
    monkeypatch.setenv(tuning.VARIABLE, f'turned kernels={turned}, bfloat16 rows=4')
    assert (row_padding.place_kernels(params) is params) == (not turned)
    assert row_padding.smallest_rows(params) == (4 if dtype == jnp.bfloat16 and not turned else 1)
    texts = [s.text for s in generate(params, successor()[1], BYTES, ['abc', 'mn'], sampling=GREEDY, max_new_tokens=4)]
    assert texts == ['defg', 'opqr']


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'prompts': ['x' * 33]}, 'prompt 0 has 33 tokens, more than the 32 positions'),
    ({'prompts': ['x', np.array([257])]}, 'prompt 1 holds token id 257, outside 0 to 256'),
    ({'max_new_tokens': 0}, 'max_new_tokens=0'),
    ({'num_samples': 0}, 'num_samples=0'),
    ({'batch_size': 0}, 'batch_size=0'),
    ({'stop': ['']}, 'stop string is empty'),
    ({'sampling': SamplingConfig(banned=tuple(range(257)))}, 'every token'),
  ],
  ids=str,
)
def test_mistakes_are_answered_in_one_line(options, message):
  with pytest.raises(UserError, match=message):
    generate(params(), CONFIG, BYTES, **{'prompts': ['a'], 'max_new_tokens': 3, **options})


def test_a_tokenizer_of_more_ids_than_the_model_is_refused():
  config = gpt.GPTConfig(vocab_size=10, context_length=8, num_layers=1, num_heads=1, embed_dim=8)
  with pytest.raises(UserError, match='has 257 ids, but the model only 10'):
    generate({}, config, BYTES, ['a'])
  assert GPTDecoder(config, 5).vocab_size == 5


def test_a_bigram_table_follows_its_rows():
  """A table that leads from each byte to the next writes them in order, however long the prompt."""
  config = bigram.BigramConfig(vocab_size=BYTES.vocab_size)
  table = 50.0 * np.eye(BYTES.vocab_size, dtype=np.float32)[(np.arange(BYTES.vocab_size) + 1) % BYTES.vocab_size]
  found = generate({'table': table}, config, BYTES, ['a', 'something before a'], max_new_tokens=20)
  assert [sample.text for sample in found] == ['bcdefghijklmnopqrstu'] * 2
