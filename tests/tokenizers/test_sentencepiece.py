"""SentencePiece's Unigram model: the best cut against all cuts, and what is not known is refused by name.

Ids beside Hugging Face's are in tests/encoder/test_peer_folders.py.
"""

import base64
import copy
import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.charsmap import CharsMap
from mlsd_jax.tokenizers.sentencepiece import SentencePieceTokenizer

SCORES = {'▁': -2.0, 'a': -3.0, 'b': -3.5, 'ab': -4.0, '▁a': -4.5, 'ba': -5.5, '▁ab': -6.25, 'bab': -8.0, '好': -5.0}
CONTENT = {
  'added_tokens': [{'id': 5 + len(SCORES), 'content': '<mask>', 'special': True}],
  'normalizer': {'type': 'Replace', 'pattern': {'Regex': ' {2,}'}, 'content': ' '},
  'pre_tokenizer': {'type': 'Metaspace', 'replacement': '▁', 'prepend_scheme': 'always', 'split': True},
  'model': {
    'type': 'Unigram',
    'unk_id': 3,
    'byte_fallback': False,
    'vocab': [
      ['<s>', 0.0],
      ['<pad>', 0.0],
      ['</s>', 0.0],
      ['<unk>', 0.0],
      ['c', -9.0],
      *map(list, SCORES.items()),
      ['<mask>', 0.0],
    ],
  },
}


@pytest.fixture(scope='module')
def tokenizer():
  return SentencePieceTokenizer(CONTENT)


def best_score(word):
  """The greatest sum over every way to cut a word; a character without a piece costs 10 more than the worst piece."""
  scores = SCORES | {'c': -9.0}
  found = []
  for cuts in itertools.product([False, True], repeat=len(word) - 1):
    edges = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(word)]
    parts = [word[start:end] for start, end in itertools.pairwise(edges)]
    if all(part in scores or len(part) == 1 for part in parts):
      found.append(sum(scores.get(part, -19.0) for part in parts))
  return max(found)


@given(st.text('abc☃', min_size=1, max_size=7))
def test_a_word_is_cut_at_its_best(word):
  tokenizer = SentencePieceTokenizer(CONTENT)
  scores = SCORES | {'c': -9.0}
  ids = tokenizer.first_ids(word, None)
  pieces = [tokenizer.vocabulary[number] for number in ids]
  assert not any(
    left == right == '<unk>' for left, right in itertools.pairwise(pieces)
  )  # unknown ones in a row are one
  if '☃' not in word:
    assert ''.join(pieces) == f'▁{word}'
    assert sum(scores[piece] for piece in pieces) == best_score(f'▁{word}')


def test_spaces_and_unknown_signs(tokenizer):
  spelled = lambda text: [tokenizer.vocabulary[number] for number in tokenizer.encode(text)]
  assert spelled('ab  b') == ['▁', 'ab', '▁', 'b']
  assert spelled('a☃☃b ') == ['▁a', '<unk>', 'b', '▁']
  assert spelled('') == []
  assert spelled('a</s>')[1] == '<unk>'  # a text holds no special token
  assert tokenizer.decode(tokenizer.encode('ab bab 好')) == 'ab bab 好'
  assert tokenizer.known_share('ab ☃☃') == 0.5
  assert tokenizer.first_ids('ab ab', 3) == tokenizer.first_ids('ab ab', None)[:3]


def test_it_is_saved_and_loaded(tokenizer, tmp_path):
  loaded = tokenizers.load(tokenizer.save(tmp_path / 'tokenizer.json'))
  assert loaded.fingerprint == tokenizer.fingerprint
  assert loaded.first_ids('bab ab', None) == tokenizer.first_ids('bab ab', None)


CHANGES = {
  'model': (lambda c: c['model'].update(type='BPE'), 'its model is BPE; only Unigram'),
  'bytes': (lambda c: c['model'].update(byte_fallback=True), 'one with byte_fallback'),
  'normalizer': (lambda c: c['normalizer'].update(type='Nmt'), 'its normalizer Nmt is not known'),
  'pre-tokenizer': (lambda c: c['pre_tokenizer'].update(type='ByteLevel'), r"its pre_tokenizer \['ByteLevel'\]"),
  'scheme': (lambda c: c['pre_tokenizer'].update(prepend_scheme='never'), "prepend_scheme='never'"),
  'no unknown': (lambda c: c['model'].update(unk_id=None), 'has no unknown piece'),
  'frame': (lambda c: c.update(post_processor={'type': 'ByteLevel'}), 'post_processor ByteLevel is not that of XLM-R'),
}


@pytest.mark.parametrize('name', CHANGES)
def test_what_is_not_known_is_named(name):
  change, message = CHANGES[name]
  content = copy.deepcopy(CONTENT)
  change(content)
  with pytest.raises(UserError, match=message):
    SentencePieceTokenizer(content)


@pytest.mark.parametrize('encoded', ['?', base64.b64encode(b'ab').decode()])
def test_a_damaged_charsmap_is_named(encoded):
  with pytest.raises(UserError, match='charsmap is damaged'):
    CharsMap(encoded)


def test_a_charsmap_written_by_hand():
  """A trie of the one text 'A', which stands for 'b'."""
  units = [1 << 10] + [0] * 255
  child = 1 ^ ord('A')
  leaf_at = 128  # the child's offset leads there
  units[child] = (leaf_at ^ child) << 10 | 1 << 8 | ord('A')
  units[leaf_at] = 1 << 31
  trie = struct.pack(f'<{len(units)}I', *units)
  found = CharsMap(base64.b64encode(struct.pack('<I', len(trie)) + trie + b'b\0').decode())
  assert found('xAAé') == 'xbbé'
