"""A small encoder with random weights, and a small corpus: what a test needs of both."""

import pytest

from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.models import bert
from mlsd_jax.retrieval.pages import MARKDOWN, Page
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

_SUBJECTS = (
  'copying folders',
  'reading archives',
  'sorting numbers',
  'parsing dates',
  'drawing circles',
  'sending mail',
)


def page(i: int, edition: str = 'first') -> Page:
  subject = _SUBJECTS[i % len(_SUBJECTS)]
  words = f'Page {i} in its {edition} edition is about {subject}. It says number {i * 37} of {subject}. '
  text = f'# All about {subject} {i}\n\n{words * 3}\n\n## Details\n\n{words * 5}\n\n```\ncode_{i} = {i}\n```\n'
  return Page(f'page-{i}', f'All about {subject} {i}', text, subject.split()[0], MARKDOWN)


@pytest.fixture(scope='session')
def pages():
  return [page(i) for i in range(24)]


@pytest.fixture(scope='session')
def encoder(pages):
  tokenizer = WordPieceTokenizer.train([each.text for each in pages], 300)
  config = bert.BertConfig(
    vocab_size=tokenizer.vocab_size, context_length=128, num_layers=1, num_heads=2, embed_dim=16, mlp_dim=32
  )
  return fresh_encoder('small', config, tokenizer)
