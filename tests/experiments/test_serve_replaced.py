"""Newer versions of finished runs appear on disk under requests: they are served, and put back by one call."""

import concurrent.futures
import pathlib
import shutil
import threading

import jax
import pytest
from starlette.testclient import TestClient

from experiments import makemore, retrieval, serve
from mlsd_jax import sealed
from mlsd_jax.language_model import pretrained
from mlsd_jax.models import gpt
from mlsd_jax.tokenizers import ByteTokenizer
from tests.experiments.tiny_runs import INDEX, LADDER, NAMES, SMALL

CONFIG = gpt.GPTConfig(ByteTokenizer.vocab_size, 32, num_layers=1, num_heads=1, embed_dim=8)
ASKED = {
  'gpt2/own': ('/v1/completions', {'model': 'gpt2/own', 'prompt': 'green', 'max_tokens': 8, 'temperature': 0}),
  'retrieval/own': ('/v1/search', {'query': 'how to send mail', 'number': 3}),
  'makemore/own': ('/v1/names', {'words': ['malo', 'riten']}),
}


def write_gpt2(workdir: pathlib.Path, version: int) -> None:
  """As a training does: the weights, then the file that is written last."""
  shutil.rmtree(workdir / 'checkpoints', ignore_errors=True)
  params = jax.tree.map(lambda leaf: 8 * leaf, gpt.init(jax.random.key(version), CONFIG))
  pretrained.save(workdir, params, CONFIG)
  sealed.write_json(workdir / 'result.json', {'version': version})


def make(version: int) -> None:
  """A run of each system; another version lies at the same place."""
  write_gpt2(pathlib.Path('runs/gpt2/own'), version)
  ByteTokenizer().save('runs/gpt2/own/tokenizer.json')
  pathlib.Path('docs/mail.md').write_text(f'# Mail {version}\n\nHow to send mail in {version} steps.\n')
  how = '--mode=update' if pathlib.Path('runs/retrieval/own').exists() else '--mode=build'
  assert retrieval.main(['--workdir=runs/retrieval/own', how, *INDEX, *SMALL]) == 0
  new = pathlib.Path(f'new{version}/own')
  assert makemore.main([f'--workdir={new}', *NAMES, *LADDER, f'--config.seeds=({version},)']) == 0
  shutil.rmtree('runs/makemore', ignore_errors=True)
  new.parent.rename('runs/makemore')


def said(client: TestClient, name: str):
  """What the answer says, without what changes from one to the next."""
  path, body = ASKED[name]
  answer = client.post(path, json=body)
  assert answer.status_code == 200, answer.text
  told = answer.json()
  return str(told['choices'][0]['text'] if name == 'gpt2/own' else told.get('pages', told))


@pytest.fixture
def client(pages, monkeypatch):
  """Of a server of the first versions, that looks for newer ones all the time."""
  make(1)
  apps = []
  monkeypatch.setattr(serve, '_listen', lambda run, settings, app: apps.append(app))
  assert serve.main(['--config.slots=2', '--config.renew_seconds=0.05']) == 0
  with TestClient(apps[0]) as client:
    yield client


def test_each_run_is_replaced_without_a_lost_request_and_put_back(client, within):
  before = {name: said(client, name) for name in ASKED}
  heard, stop = {name: [] for name in ASKED}, threading.Event()

  def ask(name):
    while not stop.is_set():
      heard[name].append(said(client, name))

  with concurrent.futures.ThreadPoolExecutor() as pool:
    asking = [pool.submit(ask, name) for name in ASKED]
    try:
      make(2)
      for each, name in zip(asking, ASKED, strict=True):
        while heard[name][-1] == before[name] and not each.done():
          stop.wait(0.05)
    finally:
      stop.set()
    for each in asking:
      each.result()  # no request was refused or failed
  after = {name: said(client, name) for name in ASKED}
  for name in ASKED:
    first = heard[name].index(after[name])
    assert set(heard[name][:first]) <= {before[name]}
    assert set(heard[name][first:]) == {after[name]} != {before[name]}  # once, and as a whole
    put_back = client.post('/v1/models/rollback', json={'model': name})
    assert put_back.status_code == 200
    assert said(client, name) == before[name]
