import pytest

from mlsd_jax.data.documents import Document
from mlsd_jax.data.named_tokenizer import tokenizer_for
from mlsd_jax.data.sources import Source
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import BPETokenizer, ByteTokenizer, CharacterTokenizer, UnigramTokenizer

TEXTS = ['the cat sat on the mat', 'the cat ate the mat é']
SOURCE = Source('texts', 'none', 'for tests', lambda: (Document('', text) for text in TEXTS), lambda: 'same')
UNREADABLE = Source('texts', 'none', 'for tests', lambda: 1 / 0, lambda: 'same')


@pytest.mark.parametrize(
  ('spec', 'expected'),
  [
    ('char', CharacterTokenizer.train(TEXTS)),
    ('bpe:265', BPETokenizer.train(TEXTS, 265)),
    ('unigram:280', UnigramTokenizer.train(TEXTS, 280)),
    ('bytes', ByteTokenizer()),
  ],
)
def test_it_is_learned_from_the_source_once(spec: str, expected):
  assert tokenizer_for(spec, SOURCE).fingerprint == expected.fingerprint
  assert tokenizer_for(spec, UNREADABLE).fingerprint == expected.fingerprint


def test_a_saved_tokenizer_is_named_by_its_path(tmp_path):
  saved = CharacterTokenizer('abc').save(tmp_path)
  assert tokenizer_for(str(saved), UNREADABLE).name == 'char-3'


def test_another_source_has_another_vocabulary():
  other = Source('texts', 'none', 'for tests', lambda: iter([Document('', 'xyz')]), lambda: 'another')
  assert tokenizer_for('char', SOURCE).vocab_size != tokenizer_for('char', other).vocab_size


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ('bpe', 'must name a vocabulary size'),
    ('bpe:many', 'must name a vocabulary size'),
    ('bpe:12', 'at least 257'),
    ('words', 'no tokenizer'),
  ],
)
def test_a_bad_spec_is_refused(spec: str, message: str):
  with pytest.raises(UserError, match=message):
    tokenizer_for(spec, SOURCE)


@pytest.mark.parametrize('spec', ['bpe:4000', 'unigram:4000'])
def test_a_vocabulary_that_the_text_is_too_short_for_is_refused(spec: str):
  """Twice: what the first call left in the cache is not taken for it."""
  for _ in range(2):
    with pytest.raises(UserError, match=r'ask for 2\d\d at most, or give more text|only 28 tokens occur twice'):
      tokenizer_for(spec, SOURCE)
