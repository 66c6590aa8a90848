"""A server over small models with random weights, asked in this process."""

import jax
import pytest
from starlette.testclient import TestClient

from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.models import bert, gpt
from mlsd_jax.serving import Limits, Services, TextService, VectorService, create_app
from mlsd_jax.tokenizers import ByteTokenizer
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer

TOKENIZER = ByteTokenizer()
CONFIG = gpt.GPTConfig(
  vocab_size=TOKENIZER.vocab_size, context_length=64, num_layers=1, num_heads=2, embed_dim=16, vocab_multiple=1
)


@pytest.fixture(scope='session')
def params():
  # Large weights: what is written then depends on what was read.
  return jax.tree.map(lambda leaf: 8 * leaf, jax.jit(gpt.init, static_argnums=1)(jax.random.key(0), CONFIG))


@pytest.fixture(scope='session')
def small_encoder():
  texts = [f'Page {i} is about copying folders, reading archives and number {i * 37}.' for i in range(24)]
  tokenizer = WordPieceTokenizer.train(texts, 200)
  config = bert.BertConfig(tokenizer.vocab_size, 64, num_layers=1, num_heads=2, embed_dim=16, mlp_dim=32)
  return fresh_encoder('small', config, tokenizer)


@pytest.fixture(scope='session')
def make_client(params, small_encoder):
  """make_client(limits, **options of TextService) -> a client of a server that has been started."""
  clients = []

  def make(limits: Limits | None = None, **options) -> TestClient:
    services = Services(
      texts={'gpt': TextService('gpt', params, CONFIG, TOKENIZER, **({'slots': 4} | options))},
      vectors={'small': VectorService('small', small_encoder)},
      tokenizers={'bytes': TOKENIZER},
    )
    client = TestClient(create_app(services, limits), raise_server_exceptions=False)
    client.__enter__()
    clients.append(client)
    return client

  yield make
  for client in clients:
    client.__exit__(None, None, None)


@pytest.fixture(scope='session')
def client(make_client) -> TestClient:
  return make_client()
