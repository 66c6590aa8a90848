"""A small encoder with random weights."""

import pytest

from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.models import bert
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

_SUBJECTS = ('copying folders', 'reading archives', 'sorting numbers', 'parsing dates', 'drawing circles')


@pytest.fixture(scope='session')
def encoder():
  texts = [f'Page {i} in its first edition is about {_SUBJECTS[i % 5]}. It says number {i * 37}.' for i in range(24)]
  tokenizer = WordPieceTokenizer.train(texts, 300)
  config = bert.BertConfig(
    vocab_size=tokenizer.vocab_size, context_length=128, num_layers=1, num_heads=2, embed_dim=16, mlp_dim=32
  )
  return fresh_encoder('small', config, tokenizer)
