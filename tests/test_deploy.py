"""What deploy/ says of the server is so: its flags, addresses, ports and the time it takes to end."""

import dataclasses
import importlib
import pathlib
import shlex

import pytest
import yaml

from experiments import contract, serve
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
  sleep, seconds = CONTAINER['lifecycle']['preStop']['exec']['command']
  assert (sleep, settings.drain_seconds + float(seconds) < pod['terminationGracePeriodSeconds']) == ('sleep', True)
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


def commands_of(document):
  """(experiment, arguments) that a manifest starts: of the containers of its pods, or a RayJob's entry point."""
  found = []

  def walk(node):
    if isinstance(node, dict):
      if node.get('command', [])[:2] == ['python', '-m']:
        found.append((node['command'][2], node.get('args', [])))
      if 'entrypoint' in node:
        _, _, module, *arguments = shlex.split(node['entrypoint'])
        found.append((module, arguments))
      node = list(node.values())
    for each in node if isinstance(node, list) else ():
      walk(each)

  walk(document)
  return found


@pytest.mark.parametrize('name', ['parts.rayjob.yaml', 'parts.jobset.yaml', 'shard_search.yaml'])
def test_commands_of_the_cluster_are_understood(name, tmp_path, monkeypatch):
  """They were validated against the schemas of KubeRay and JobSet; here their flags are."""
  documents = list(yaml.safe_load_all((ROOT / 'deploy' / name).read_text()))
  commands = [command for document in documents for command in commands_of(document)]
  assert len(commands) == (3 if name == 'shard_search.yaml' else 1)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(contract, '_set_up_jax', lambda *_: None)
  for module, arguments in commands:
    experiment = importlib.import_module(module)
    for mode, part in experiment.MODES.items():
      monkeypatch.setitem(experiment.MODES, mode, dataclasses.replace(part, function=lambda run: None))
    assert experiment.main([each for each in arguments if not each.startswith('--workdir')]) == 0


def test_the_root_asks_every_group_of_searchers_that_there_is():
  documents = list(yaml.safe_load_all((ROOT / 'deploy' / 'shard_search.yaml').read_text()))
  flags = [dict(arg.removeprefix('--config.').split('=', 1) for arg in arguments if arg.startswith('--config.'))
           for document in documents for _, arguments in commands_of(document)]  # fmt: skip
  *searchers, root = flags
  assert [(each['groups'], each['group']) for each in searchers] == [('2', '0'), ('2', '1')]
  services = {document['metadata']['name'] for document in documents if document['kind'] == 'Service'}
  asked = root['searchers'].split(',')
  assert len(asked) == 2
  assert {address.removeprefix('http://').split(':')[0] for address in asked} <= services
