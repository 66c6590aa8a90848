"""Text streams: whole characters only, cut before stop strings, never taken back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax import tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.generation.stopping import TextStream

BYTES = tokenizers.ByteTokenizer()


def run(text, stop):
  stream = TextStream(BYTES, stop)
  pieces = [stream.push(int(token)) for token in BYTES.encode(text)]
  pieces.append(stream.close())
  return pieces, stream


@given(st.text(alphabet='abé€ ', max_size=30), st.lists(st.text(alphabet='abé', min_size=1, max_size=4), max_size=3))
def test_text_is_cut_before_the_stop_string_that_completes_first(text, stop):
  pieces, stream = run(text, stop)
  # Byte by byte, the stop string that ends first is seen first; of those ending together, the one that began first.
  ends = [(text.find(s) + len(s), text.find(s)) for s in stop if s in text]
  expected = text[: min(ends)[1]] if ends else text
  assert stream.text == expected
  assert ''.join(pieces) == expected
  assert stream.stopped == bool(ends)
  assert all('\ufffd' not in piece for piece in pieces)


def test_a_possible_stop_string_is_held_back_until_it_is_not_one():
  pieces, _ = run('a\nUser x', ['\nUser:'])
  assert pieces == ['a', '', '', '', '', '', '\nUser ', 'x', '']


def test_an_unfinished_character_is_replaced_at_the_end():
  stream = TextStream(BYTES)
  assert [stream.push(byte) for byte in b'a\xe2\x82'] == ['a', '', '']
  assert stream.close() == '\ufffd'


def test_tokens_behind_a_stop_string_are_ignored():
  stream = TextStream(BYTES, 'b')
  assert [stream.push(byte) for byte in b'abc'] == ['a', '', '']
  assert stream.close() == ''
  assert stream.text == 'a'


def test_an_empty_stop_string_is_refused():
  with pytest.raises(UserError, match='empty'):
    TextStream(BYTES, ['a', ''])
