"""experiments.serve finds finished runs, says what it serves, and listens."""

import dataclasses
import pathlib
import socket
import sys
import time
import types

import jax
import pytest
from starlette.testclient import TestClient

from experiments import config_files, mingpt, serve, serve_systems
from mlsd_jax import files, sealed
from mlsd_jax.errors import UserError
from mlsd_jax.language_model import pretrained
from mlsd_jax.models import gpt
from mlsd_jax.serving import Services
from mlsd_jax.serving.attention_maps import heads_of
from mlsd_jax.serving.config import ServerConfig
from mlsd_jax.tokenizers import ByteTokenizer
from tests.experiments.tiny_runs import MINGPT


@pytest.fixture
def runs(tmp_path, monkeypatch):
  """A folder with a small GPT, a tokenizer, and a run that is damaged."""
  monkeypatch.chdir(tmp_path)
  tokenizer = ByteTokenizer()
  config = gpt.GPTConfig(tokenizer.vocab_size, 32, num_layers=1, num_heads=1, embed_dim=8)
  for name in ('quickstart', 'damaged'):
    workdir = pathlib.Path('runs', 'gpt2', name)
    pretrained.save(workdir, gpt.init(jax.random.key(0), config), config)
    tokenizer.save(workdir / 'tokenizer.json')
    sealed.write_json(workdir / 'result.json', {'val_loss': 1.0})
  (weights,) = (path for path in pathlib.Path('runs/gpt2/damaged/checkpoints').glob('*.json'))
  weights.write_text('{')
  tokenizer.save(pathlib.Path('runs', 'tokenizer', 'own', 'tokenizer.json'))
  return 'runs'


def test_finished_runs_are_served_and_missing_ones_told(runs, monkeypatch, capsys):
  apps = []
  monkeypatch.setattr(serve, '_listen', lambda run, settings, app: apps.append(app))
  assert serve.main([f'--config.runs={runs}', '--config.slots=2']) == 0
  said = capsys.readouterr().out
  assert 'gpt2/quickstart: writes text' in said
  assert 'gpt2/damaged: not served: ' in said
  assert 'tokenizer/own: splits text' in said
  assert 'retrieval: nothing under runs/retrieval; python -m experiments.retrieval makes it' in said
  with TestClient(apps[0]) as client:
    made = client.post('/v1/completions', json={'model': 'gpt2/quickstart', 'prompt': 'a', 'max_tokens': 3})
    assert made.json()['usage']['completion_tokens'] == 3
    assert client.post('/v1/tokenize', json={'text': 'a', 'model': 'tokenizer/own'}).json()['tokens'] == [97]


@pytest.mark.parametrize('content', ['', 'garbage', '[1]', '{"val_loss": 1', '{"a": 1, "sha256": "0"}'])
@pytest.mark.parametrize('system', ['gpt2', 'mingpt', 'tokenizer', 'makemore'])
def test_a_damaged_result_is_told_and_its_run_not_served(runs, system, content, monkeypatch, capsys):
  result = pathlib.Path(runs, system, 'own', 'result.json')
  result.parent.mkdir(exist_ok=True, parents=True)
  result.write_text(content)
  ByteTokenizer().save(result.with_name('tokenizer.json'))
  monkeypatch.setattr(serve, '_listen', lambda run, settings, app: None)
  assert serve.main([f'--config.runs={runs}', '--config.slots=2']) == 0
  (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f'{system}/own')]
  assert line.startswith(f'{system}/own: not served: {result} ')


@pytest.mark.parametrize('system', ['gpt2', 'mingpt', 'tokenizer', 'makemore', 'retrieval', 'recsys'])
def test_a_config_with_an_unknown_key_is_told_and_its_run_not_served(runs, system, monkeypatch, capsys):
  workdir = pathlib.Path(runs, system, 'own')
  config = config_files.load_config(f'configs/{system}/quickstart.py')[1].to_dict()
  files.write_json(workdir / 'config.json', config | {'data': config['data'] | {'sorce': 'mine'}})
  ByteTokenizer().save(workdir / 'tokenizer.json')
  sealed.write_json(workdir / 'result.json', {'val_loss': 1.0})
  for folder in ('index', 'state'):
    sealed.write_json(workdir / folder / 'current.json', {'version': 'v'})
  monkeypatch.setattr(serve, '_listen', lambda run, settings, app: None)
  assert serve.main([f'--config.runs={runs}', '--config.slots=2']) == 0
  (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f'{system}/own')]
  assert f'not served: {workdir}/config.json has an unknown key data.sorce (data.source is one); ' in line


def test_a_newer_version_with_a_damaged_result_leaves_the_one_that_is_served(runs, monkeypatch, caplog):
  apps = []
  monkeypatch.setattr(serve, '_listen', lambda run, settings, app: apps.append(app))
  assert serve.main([f'--config.runs={runs}', '--config.slots=2', '--config.renew_seconds=0.01']) == 0
  with TestClient(apps[0]) as client:
    pathlib.Path(runs, 'gpt2/quickstart/result.json').write_text('garbage')
    while not (told := [each for each in caplog.messages if each.startswith('gpt2/quickstart')]):
      time.sleep(0.01)
    body = {'model': 'gpt2/quickstart', 'prompt': 'a', 'max_tokens': 3}
    assert client.post('/v1/completions', json=body).status_code == 200
  assert len(told) == 1
  assert 'is not served: runs/gpt2/quickstart/result.json is not valid JSON' in told[0]


def test_every_setting_is_read(runs, monkeypatch):
  """By its name, where a server is made; that it is a field of the class does not count."""
  read, look_up = set(), ServerConfig.__getattribute__

  def note(settings, name):
    if not sys._getframe(1).f_code.co_filename.endswith('dataclasses.py'):
      read.add(name)
    return look_up(settings, name)

  monkeypatch.setattr(ServerConfig, '__getattribute__', note)
  monkeypatch.setattr(serve, 'listen', lambda *_, **options: None)
  shop = pathlib.Path('runs/recsys/shop/state/current.json')
  shop.parent.mkdir(parents=True)
  shop.write_text('{}')
  state = types.SimpleNamespace(purchases=True)
  monkeypatch.setattr(serve_systems.saved_state, 'load', lambda folder: state)
  monkeypatch.setattr(serve_systems, 'Shop', lambda state, folder: folder)
  monkeypatch.setattr(serve_systems, 'AnswerLog', lambda folder: folder)
  opened = []
  monkeypatch.setattr(
    serve_systems,
    'RecommendService',
    lambda name, state, **options: opened.append(options) or types.SimpleNamespace(rules=None, view=None),
  )
  monkeypatch.setattr(serve.rules, 'read', lambda path, views: {})
  assert (
    serve.main([f'--config.runs={runs}', '--config.port=0', '--config.rules=rules.json', '--config.state=here']) == 0
  )
  assert opened[0]['shop'] == pathlib.Path('here/recsys/shop')
  assert {field.name for field in dataclasses.fields(ServerConfig)} <= read


def test_nothing_to_serve_and_no_place_to_listen_are_one_line(runs, capsys):
  assert serve.main(['--config.runs=nowhere']) == 2
  assert capsys.readouterr().err == (
    'error: nowhere holds no finished run; --mode=prepare makes a small one of each system\n'
  )
  assert serve.main([f'--config.runs={runs}', '--config.dtype=int8']) == 2
  assert capsys.readouterr().err == "error: --config.dtype='int8' is not one of float32, bfloat16\n"
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    port = taken.getsockname()[1]
    assert serve.main([f'--config.runs={runs}', f'--config.port={port}']) == 2
  err = capsys.readouterr().err
  assert f'--config.port={port} cannot be listened at: Address already in use' in err
  assert err.count('\n') == 1


def test_a_ladder_is_served_a_model_a_rung(folder, monkeypatch, capsys):
  assert mingpt.main(['--workdir=runs/mingpt/own', "--config.parts=('ladder',)", *MINGPT]) == 0
  services = Services()
  serve_systems.SYSTEMS['mingpt'].open(folder / 'runs/mingpt/own', 'mingpt/own', ServerConfig(slots=1), services)
  assert list(services.texts) == ['mingpt/own/one_head']
  assert list(services.tokenizers) == ['mingpt/own']
  assert heads_of(services.texts['mingpt/own/one_head']) == {'layers': 1, 'heads': 1, 'tokens': 8}
  assert serve_systems.SYSTEMS['mingpt'].is_finished(folder / 'runs/mingpt/own')
  sealed.write_json(folder / 'runs/mingpt/own/result.json', {'adder': 1.0})  # a run whose parts have no ladder
  assert not serve_systems.SYSTEMS['mingpt'].is_finished(folder / 'runs/mingpt/own')


def test_the_judge_is_served_only_where_its_cage_is_whole(runs, monkeypatch, capsys):
  def lacks(**options):
    raise UserError('the judge serves only where its cage is whole, and here it is without Landlock')

  monkeypatch.setattr(serve.JudgeService, 'open', lacks)
  assert serve.main([f'--config.runs={runs}', '--config.slots=2', '--config.judge=True']) == 2
  assert capsys.readouterr().err == (
    'error: the judge serves only where its cage is whole, and here it is without Landlock\n'
  )


def test_prepare_makes_what_is_missing_and_names_what_failed(runs, monkeypatch, capsys):
  commands, codes = [], {'experiments.retrieval': 1}

  def start(command, check):
    commands.append(command[1:])
    return types.SimpleNamespace(returncode=codes.get(command[2], 0))

  monkeypatch.setattr(serve.subprocess, 'run', start)
  assert serve.main(['--mode=prepare', f'--config.runs={runs}']) == 2
  told = capsys.readouterr()
  assert told.err == 'error: experiments.retrieval ended with exit code 1; the same command goes on where it stopped\n'
  assert '4 of 4: $ python -m experiments.makemore' in told.out
  assert commands == [
    [*system.command, *system.smaller, f'--workdir=runs/{name}/quickstart']
    for name, system in serve.SYSTEMS.items()
    if name not in ('gpt2', 'tokenizer')
  ]
  codes.clear()
  assert serve.main(['--mode=prepare', f'--config.runs={runs}']) == 0
  codes['experiments.mingpt'] = 130  # Ctrl-C reached it too
  assert serve.main(['--mode=prepare', f'--config.runs={runs}']) == 130
  assert len(commands) == 9
  capsys.readouterr()
  assert serve.main(['--mode=prepare', '--config.port=1']) == 2
  assert '--config.port has no effect in --mode=prepare' in capsys.readouterr().err
