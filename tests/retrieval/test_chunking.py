"""Chunks cover their page in order, fit their budget, and keep to its structure."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval.chunking import Chunk, ChunkConfig, chunk_text, cut, plain_text
from mlsd_jax.retrieval.pages import MARKDOWN, PLAIN, Page

LINES = st.sampled_from(
  [
    '# Top', '## Second ##', '### Third', 'Words of a sentence. And more of them!', '', '', '- an item', '```python',
    '```', '~~~', 'x = 1  # a comment', '| a | b |', '|---|---|', 'Title of old', '=====', '-----', '---', '> quoted',
    '[a link](https://example.org) and ![a picture](x.png)', 'word ' * 60, 'x' * 300, '   ', '{% include x %}',
    '\ufeff', 'zażółć gęślą jaźń 漢字 🙂',
  ]
)  # fmt: skip
TEXTS = st.lists(LINES, max_size=30).map('\n'.join)
CONFIGS = st.sampled_from(
  [ChunkConfig(32, 8, 10), ChunkConfig(64, 0, 0), ChunkConfig(200, 32, 64), ChunkConfig(16, 8, 16)]
)


def count(texts):
  return [len(text) // 4 + 1 if text else 0 for text in texts]


@given(TEXTS, st.sampled_from([MARKDOWN, PLAIN]), CONFIGS)
def test_chunks_cover_the_text_in_order(text, format_, config):
  page = Page('id', 'Title', text, format=format_)
  chunks = cut(page, config, count)
  assert chunks
  covered = set()
  for before, after in itertools.pairwise(chunks):
    assert before.start < after.start
    assert before.end < after.end
  for chunk in chunks:
    assert 0 <= chunk.start <= chunk.end <= len(text)
    covered |= set(range(chunk.start, chunk.end))
  front = 0
  if format_ == MARKDOWN and text.lstrip().startswith('---'):
    front = len(text)  # what front matter there is may be left out
  missing = [i for i in range(front, len(text)) if i not in covered and not text[i].isspace()]
  assert not missing


@given(TEXTS, CONFIGS)
def test_chunks_fit_their_budget(text, config):
  page = Page('id', '', text, format=MARKDOWN)
  for chunk in cut(page, config, count):
    size = count([plain_text(text[chunk.start : chunk.end], MARKDOWN)])[0]
    assert size <= config.max_tokens + 2


def test_a_code_block_stays_whole_and_a_heading_with_its_section():
  code = '```python\n' + '\n\n'.join(f'line_{i} = {i}' for i in range(6)) + '\n```'
  prose = 'Some words about it. ' * 6
  page = Page('id', 'Guide', f'# Guide\n\n{prose}\n\n## Example\n\n{code}\n\n## Next\n\n{prose}\n', format=MARKDOWN)
  chunks = cut(page, ChunkConfig(48, 8, 8), count)
  texts = [page.text[chunk.start : chunk.end] for chunk in chunks]
  assert sum(code in text for text in texts) == 1
  assert any(text.startswith('## Example') and code in text for text in texts)
  example = next(chunk for chunk in chunks if code in page.text[chunk.start : chunk.end])
  assert example.headings == ('Guide', 'Example')
  assert chunk_text(page, example).startswith('Guide - Example: line_0 = 0')


def test_a_hash_in_code_is_no_heading():
  page = Page('id', '', '# Real\n\n```\n# comment\n```\n\nwords that follow the code\n', format=MARKDOWN)
  assert {chunk.headings for chunk in cut(page, ChunkConfig(16, 0, 0), count)} == {('Real',)}


def test_sentences_overlap_between_chunks_of_a_section():
  sentences = ' '.join(f'Sentence number {i} says something.' for i in range(40))
  page = Page('id', '', sentences)
  chunks = cut(page, ChunkConfig(64, 16, 0), count)
  assert len(chunks) > 3
  for before, after in itertools.pairwise(chunks):
    assert after.start < before.end  # the last sentence of one begins the next
    assert page.text[after.start :].startswith('Sentence number')


def test_a_sentence_without_end_is_cut():
  rng = random.Random(0)
  page = Page('id', '', ' '.join(''.join(rng.choices('abcdef', k=6)) for _ in range(5000)) + 'y' * 9000)
  chunks = cut(page, ChunkConfig(64, 0, 0), count)
  assert max(count([page.text[c.start : c.end]])[0] for c in chunks) <= 66
  assert sum(c.end - c.start for c in chunks) == len(page.text)


def test_whole_pages():
  page = Page('id', 'Title', 'one\n\ntwo')
  assert cut(page, ChunkConfig(max_tokens=0), count) == [Chunk(0, 8)]


def test_front_matter_is_left_out_but_never_a_page():
  page = Page('id', 'T', '---\ntitle: T\n---\n\nThe words.\n', format=MARKDOWN)
  chunks = cut(page, ChunkConfig(), count)
  assert [page.text[c.start : c.end].strip() for c in chunks] == ['The words.']
  only = Page('id', 'T', '---\ntitle: T\n---\n', format=MARKDOWN)
  assert cut(only, ChunkConfig(), count) == [Chunk(0, len(only.text))]


def test_the_heading_line_is_for_bm25_only():
  page = Page('copy', 'shutil.copy', 'shutil.copy(src, dst)\n\nCopy data.\n')
  assert chunk_text(page, Chunk(0, len(page.text))) == 'shutil.copy: Copy data.'
  assert chunk_text(page, Chunk(0, len(page.text)), heading=True) == 'shutil.copy(src, dst) Copy data.'


@pytest.mark.parametrize('values', [{'max_tokens': 8}, {'overlap': 150}, {'overlap': -1}])
def test_settings_that_cannot_be_met_are_refused(values):
  with pytest.raises(UserError, match='chunk'):
    ChunkConfig(**values)
