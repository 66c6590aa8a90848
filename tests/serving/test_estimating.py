"""The estimator over HTTP says what the library says, and what cannot be in one line."""

import json

import pytest
from starlette.testclient import TestClient

from mlsd_jax.estimates import find, training, transformer
from mlsd_jax.estimates.hardware import DEVICES
from mlsd_jax.serving import Services, create_app


@pytest.fixture(scope='module')
def client():
  with TestClient(create_app(Services()), raise_server_exceptions=False) as client:
    yield client


def test_it_says_what_the_library_says(client):
  answer = client.post('/v1/estimate', json={'batch_size': 512, 'hardware': '8xh100'}).json()
  shape = dict(num_layers=12, num_heads=12, embed_dim=768, context_length=1024, vocab_multiple=128)
  plan = training.Plan(
    transformer.of_gpt(shape, 50_257), 1024, 512, 600_000, dtype='bfloat16', fused_attention=True, loss_chunks=8
  )
  expected = training.estimate(plan, find('8xh100'), 0.4)
  for group, told in zip(expected, answer['groups'], strict=False):
    assert [row['name'] for row in told['rows']] == [row.name for row in group.rows]
    assert [row['shown'] for row in told['rows']] == [row.shown for row in group.rows]
  assert answer['misfit'] is None
  bounds = answer['bounds']['training_step']
  assert max(bounds, key=bounds.get) == 'compute'
  assert max(bounds.values()) == pytest.approx(expected[2]['step'])
  json.dumps(answer, allow_nan=False)


def test_what_does_not_fit_comes_with_what_would(client):
  answer = client.post('/v1/estimate', json={'hardware': 'l4', 'qps': 1, 'vocab_size': 50257}).json()
  assert answer['misfit'].startswith('it does not fit: ')
  assert 'accumulation' in answer['misfit']


def test_hardware_is_listed(client):
  listed = client.get('/v1/estimate').json()['hardware']
  assert listed.keys() == DEVICES.keys()
  assert listed['h100']['memory'] == 80e9


@pytest.mark.parametrize(
  ('body', 'said'),
  [
    ({'hardware': '8xabacus'}, 'is unknown'),
    ({'hardware': 'here'}, 'is measured'),
    ({'fsdp': 3}, 'does not fit 8 devices'),
    ({'embed_dim': 770, 'num_heads': 12}, 'is not divisible'),
    ({'mfu': 1.2}, 'mfu'),
    ({'layers': 3}, 'layers'),
    ({'num_layers': 1000, 'embed_dim': 2**20, 'num_heads': 1}, 'too much'),
    ({'prompt_tokens': 2000}, 'more than the 1024'),
  ],
)
def test_what_cannot_be_is_one_line(client, body, said):
  answer = client.post('/v1/estimate', json=body)
  assert answer.status_code == 400
  assert said in answer.json()['error']['message']
