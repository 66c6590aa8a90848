"""What a person sees of a text's tokens."""

import re

from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.tokenizers import BPETokenizer, ByteTokenizer, CharacterTokenizer, token_page

BPE = BPETokenizer([(97, 98), (0xF0, 0x9F)])


@given(st.text(st.sampled_from('ab é😀\n<&"')))
def test_spans_join_to_the_text_and_its_tokens(text):
  parts = token_page.spans(BPE, text)
  assert ''.join(characters for characters, _, _ in parts) == text
  assert [i for _, ids, _ in parts for i in ids] == BPE.encode(text).tolist()


def test_page_shows_the_text_of_every_tokenizer_and_runs_nothing_of_it():
  text = '<script>alert("ab")</script>\n'
  shown = token_page.html_page([BPE, ByteTokenizer(), CharacterTokenizer(''.join(sorted(set(text))))], text)
  assert shown.count('<h2>') == 3
  assert '<script' not in shown
  plain = [re.sub('<[^>]*>', '', block) for block in re.findall(r'<div class="text">(.*?)</div>', shown, re.DOTALL)]
  assert set(plain) == {'&lt;script&gt;alert(&quot;ab&quot;)&lt;/script&gt;⏎\n'}


def test_in_plain_text():
  assert token_page.in_plain_text(BPE, 'xab\n') == 'x|ab|\\n'


@given(st.text(max_size=8))
def test_half_characters_are_shown_by_their_bytes(text):
  assert '\ufffd' not in token_page.in_plain_text(ByteTokenizer(), text.replace('\ufffd', ''))
  assert token_page.in_plain_text(BPE, '😀') == r'\xf0\x9f|\x98|\x80'
