"""What deploy/ says of the server is so: its flags, addresses, ports and the time it takes to end."""

import pathlib
import shlex

import pytest
import yaml

from experiments import serve
from mlsd_jax.serving import Services, create_app

ROOT = pathlib.Path(__file__).parents[1]
DEPLOYMENT, SERVICE = yaml.safe_load_all((ROOT / 'deploy' / 'serve.yaml').read_text())
(CONTAINER,) = DEPLOYMENT['spec']['template']['spec']['containers']
DOCKERFILE = (ROOT / 'deploy' / 'Dockerfile').read_text().splitlines()


def lines_of(instruction):
  return [line.removeprefix(instruction).strip() for line in DOCKERFILE if line.startswith(instruction + ' ')]


@pytest.fixture
def started_with(monkeypatch, tmp_path):
  """started_with(arguments) -> the settings that the server would listen with."""

  def start(arguments):
    found = []
    monkeypatch.setattr(serve, '_finished', lambda runs: iter(()))
    monkeypatch.setattr(serve, '_missing', lambda runs: [])
    monkeypatch.setattr(serve, '_listen', lambda run, settings, app: found.append(settings))
    monkeypatch.setattr(serve, 'Services', lambda **others: Services(tokenizers={'any': None}, **others))
    monkeypatch.chdir(tmp_path)
    assert serve.main(arguments) == 0
    return found[0]

  return start


def test_kubernetes_starts_the_server_as_its_probes_and_limits_expect(started_with):
  pod = DEPLOYMENT['spec']['template']['spec']
  assert CONTAINER['command'] == ['python', '-m', 'experiments.serve']
  settings = started_with(CONTAINER['args'])
  (port,) = CONTAINER['ports']
  assert (settings.host, settings.port) == ('0.0.0.0', port['containerPort'])
  assert settings.drain_seconds < pod['terminationGracePeriodSeconds']
  mounts = {mount['mountPath']: mount.get('readOnly', False) for mount in CONTAINER['volumeMounts']}
  assert mounts[settings.runs]
  assert not mounts[settings.state]  # what happens while it serves is written
  assert CONTAINER['env'][0]['name'] == serve.KEYS
  assert SERVICE['spec']['ports'][0]['targetPort'] == port['name']
  assert SERVICE['spec']['selector'].items() <= DEPLOYMENT['spec']['template']['metadata']['labels'].items()
  paths = {route.path for route in create_app(Services()).routes}
  for probe in ('startupProbe', 'readinessProbe', 'livenessProbe'):
    assert CONTAINER[probe]['httpGet']['path'] in paths
    assert CONTAINER[probe]['httpGet']['port'] == port['name']


def test_the_image_starts_the_server_and_holds_what_it_needs(started_with):
  (command,), (port,) = lines_of('CMD'), lines_of('EXPOSE')
  python, _, module, *arguments = yaml.safe_load(command)
  assert (python, module) == ('python', 'experiments.serve')
  settings = started_with(arguments)
  assert (settings.host, settings.port) == ('0.0.0.0', int(port))
  assert any(settings.state in line for line in lines_of('RUN'))
  let_in = {
    line[1:] for line in (ROOT / 'deploy' / 'Dockerfile.dockerignore').read_text().splitlines() if line.startswith('!')
  }
  copied = {path for line in lines_of('COPY') for path in shlex.split(line)[:-1]}
  assert copied == let_in
  assert all((ROOT / path).exists() for path in copied)
