"""Both forms of every pattern cut alike; patterns of one's own."""

import collections

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers import patterns, pieces
from mlsd_jax.tokenizers.patterns import MARK, PATTERNS, Pattern, pattern_for

PUBLISHED = [name for name in PATTERNS if name != 'none']
# What the patterns tell apart: white space of all kinds, letters of all cases, marks, digits, signs, contractions; and
# any character that Unicode has had for long (engines differ in how new their tables are).
TELLING = " \n\r\t\u00a0\u3000aZéÉǅʰß中ا१9½_'!/.ſ\u0301\u0e33\u200d😀"
WORDS = [" 'S", "'re", '  ', '\n', '\r\n', ' a', 'B', '12345', '...', "don't", '/', ' !\n', '\t']
TEXTS = st.text(st.sampled_from(TELLING) | st.characters(exclude_categories=['Cs', 'Cn']), max_size=40) | st.lists(
  st.sampled_from(WORDS), max_size=20
).map(''.join)


@pytest.mark.parametrize('name', PUBLISHED)
@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
def test_the_fast_form_cuts_as_the_plain_one(name, text):
  pattern = PATTERNS[name]
  plain = pattern.split(text)
  assert ''.join(plain) == text
  counted = pieces.count_pieces([text], pattern, workers=1).pieces
  assert list(counted.items()) == list(collections.Counter(plain).items())


@pytest.mark.parametrize(
  ('name', 'encoding'),
  [('gpt2', 'gpt2'), ('gpt2', 'p50k_base'), ('cl100k', 'cl100k_base'), ('o200k', 'o200k_base')],
)
def test_plain_forms_are_those_of_tiktoken(name, encoding):
  try:
    theirs = tokenizers.TiktokenTokenizer(encoding).encoding
  except UserError as error:
    pytest.skip(str(error))
  assert PATTERNS[name].plain == theirs._pat_str


def test_a_long_text_is_cut_at_seams_into_the_same_pieces(monkeypatch):
  text = "It's a long text, with  spaces\n\nand lines; and it's cut.\r\n  The end of\tit " * 50
  whole = {name: collections.Counter(PATTERNS[name].split(text)) for name in PUBLISHED}
  monkeypatch.setattr(pieces, '_CHUNK', 97)
  for name in PUBLISHED:
    counts = pieces.count_pieces([text, text], PATTERNS[name], workers=2)
    assert counts.chunks > 20
    assert {piece: 2 * count for piece, count in whole[name].items()} == counts.pieces


def test_text_with_the_mark_is_cut_too():
  text = f'a  b{MARK} {MARK}  c'
  assert ''.join(pieces.count_pieces([text], PATTERNS['gpt2'], workers=1).pieces.elements()).count(MARK) == 2


def test_counting_goes_on_where_it_was_saved(tmp_path, monkeypatch, check_flips):
  monkeypatch.setattr(pieces, '_CHUNK', 50)
  texts = [f'number {i} of some texts' for i in range(40)]
  saved = []

  def save_third(counts):
    if counts.chunks == 3:
      counts.save(tmp_path / 'pieces.parquet')
    saved.append(counts.chunks)

  whole = pieces.count_pieces(texts, PATTERNS['gpt2'], workers=2, on_chunk=save_third)
  start = pieces.Counts.load(tmp_path / 'pieces.parquet')
  assert start.chunks == 3
  rest = pieces.count_pieces(texts, PATTERNS['gpt2'], workers=2, start=start)
  assert list(rest.pieces.items()) == list(whole.pieces.items())
  assert (rest.chunks, rest.characters) == (whole.chunks, whole.characters)

  check_flips(tmp_path, lambda: pieces.Counts.load(tmp_path / 'pieces.parquet').pieces)
  (tmp_path / 'pieces.parquet').write_bytes(b'PAR1 half')
  with pytest.raises(UserError, match='damaged'):
    pieces.Counts.load(tmp_path / 'pieces.parquet')


def test_a_pattern_of_ones_own():
  own = pattern_for(r'\w+|\W')
  assert own.split('two words') == ['two', ' ', 'words']
  assert pieces.count_pieces(['two words', 'two'], own, workers=2).pieces == {'two': 2, ' ': 1, 'words': 1}
  assert pattern_for(PATTERNS['gpt2'].plain) is PATTERNS['gpt2']


@pytest.mark.parametrize(('pattern', 'message'), [('(', 'does not compile'), (r'(\w)+', 'capturing')])
def test_bad_patterns_are_refused(pattern, message):
  with pytest.raises(UserError, match=message):
    pattern_for(pattern)


def test_a_pattern_that_leaves_out_text_is_refused():
  with pytest.raises(UserError, match=r"leaves out ', '"):
    pieces.count_pieces(['one, two'], pattern_for(r'\w+'), workers=1)


HANGING = [r'(a+)+$', r'(?:a|aa)+!|\s', r'(x+x+)+y|.', r'(?:(?:key|k|e|y)+)+=|.', r'( +)+$|\w+', r'(?:\w+\s?)+$']


@pytest.mark.parametrize('expression', HANGING)
def test_a_pattern_that_would_hang_is_refused(expression, monkeypatch):
  monkeypatch.setattr(patterns, '_PROBE_SECONDS', 0.3)
  expression = expression.replace('(a', '(?:a').replace('(x', '(?:x').replace('( ', '(?: ')
  with pytest.raises(UserError, match='would hang'):
    pattern_for(expression)


GOOD = [r'\w+|\s+|.', r'(?:a++)++$|(?s:.)', *(PATTERNS[name].plain + '|x' for name in PUBLISHED)]


@pytest.mark.parametrize('expression', GOOD)
def test_a_pattern_that_does_not_hang_is_taken(expression):
  assert pattern_for(expression).name == 'own'


def test_a_pattern_that_hangs_on_a_text_stops(monkeypatch):
  monkeypatch.setattr(patterns, '_SECONDS', 0.3)
  with pytest.raises(UserError, match='takes more than'):
    Pattern('own', '(?:a+)+$').split('a' * 3000 + '!')
