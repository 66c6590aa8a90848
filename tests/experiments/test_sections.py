"""Every value of every config goes through the check of its section before any work: types, ranges, sentinels."""

import dataclasses
import importlib
import json
import math
import pathlib

import pytest

from experiments import config_files, contract, modes
from tests.experiments.recording import noting

NAMES = sorted(path.stem for path in pathlib.Path(contract.__file__).parent.glob('*.py') if 'MODES' in path.read_text())
CONFIGS = {name: config_files.load_config(f'configs/{name}/quickstart.py')[1] for name in NAMES}
KEYS = [
  (name, key, value)
  for name, config in CONFIGS.items()
  for key, value in config_files.leaves(config.to_dict())
  if isinstance(value, int | float) and not isinstance(value, bool)
]
# Below 0 they stand for something, or for themselves.
BELOW_ZERO = ('final_learning_rate', 'presence_penalty', 'frequency_penalty')


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  """call(name, key, value) -> (exit code, standard error) of the first mode that reads the key; it does nothing."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(contract, '_set_up_jax', lambda *_: None)

  def call(name, key, value):
    experiment = importlib.import_module(f'experiments.{name}')
    reads = [mode for mode, part in experiment.MODES.items() if modes.covers(part.reads, key)]
    for mode, part in experiment.MODES.items():
      monkeypatch.setitem(experiment.MODES, mode, dataclasses.replace(part, function=lambda run: None))
    read = modes.covers(experiment.MODES[reads[0]].reads, 'data.source')
    source = ['--config.data.source=synthetic'] if name == 'recsys' and key != 'data.source' and read else []
    code = experiment.main([f'--mode={reads[0]}', f'--config.{key}={value}', *source])
    return code, capsys.readouterr().err

  return call


@pytest.mark.parametrize('name', NAMES)
def test_a_number_out_of_its_range_is_refused_before_any_work(name, call):
  wrong = [(key, each) for of, key, value in KEYS if of == name and isinstance(value, int) for each in (-7, 10**30)]
  wrong += [(key, each) for of, key, value in KEYS if of == name and isinstance(value, float)
            for each in (-7.5, math.nan, math.inf)]  # fmt: skip
  for key, value in wrong:
    last = key.split('.')[-1]
    if last in BELOW_ZERO and value == -7.5:
      continue
    code, err = call(name, key, value)
    assert (code, err.count('\n')) == (2, 1), f'{key}={value}: {err}'
    assert last in err, f'{key}={value}: {err}'


# Of a file, a folder, a source: '' would be the folder one stands in.
NAMED = ('data.source', 'data.tokenizer', 'encoder.name', 'runs', 'host')
# Each is done once; elsewhere what stands twice is there twice: layers, digits, prompts.
ONCE = ('seeds', 'ladder', 'climb', 'parts', 'datasets', 'compare', 'special_tokens', 'tokenizers')


@pytest.mark.parametrize('name', NAMES)
def test_an_empty_name_and_one_that_stands_twice_are_refused_before_any_work(name, call):
  leaves = [(key, value) for key, value in config_files.leaves(CONFIGS[name].to_dict())]
  wrong = [(key, '') for key, _ in leaves if key in NAMED]
  wrong += [(key, (value[0], *value)) for key, value in leaves if key.split('.')[-1] in ONCE and value]
  for key, value in wrong:
    code, err = call(name, key, value)
    assert (code, err.count('\n')) == (2, 1), f'{key}={value}: {err}'
    assert f'--config.{key}' in err, f'{key}={value}: {err}'


# Texts that name no file, and may begin as an address does; lists of words that are looked up when they are used.
NO_PATHS = {
  *('prompt', 'stop', 'text', 'system', 'label', 'text_key', 'pattern', 'judge', 'host', 'searchers', 'cors_origins'),
  *('kind', 'name', 'schedule', 'engine', 'draw_with', 'ties', 'split', 'known_items', 'expansion', 'rung', 'topics'),
  *('ladder', 'climb', 'parts', 'datasets', 'special_tokens'),
}
OF_NO_PATH = {('algorithms', 'compare')}  # where another experiment's key of the name is one


@pytest.mark.parametrize('name', NAMES)
def test_an_address_that_lost_a_slash_is_the_path_of_no_key(name, call, tmp_path):
  experiment = importlib.import_module(f'experiments.{name}')
  is_text = lambda value: (
    isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))
  )
  texts = {
    key: value for key, value in config_files.leaves(CONFIGS[name].to_dict())
    if is_text(value) and any(modes.covers(part.reads, key) for part in experiment.MODES.values())
  }  # fmt: skip
  for key, value in texts.items():
    code, err = call(name, key, 'gs:/x' if isinstance(value, str) else ('gs:/x',))
    assert err.count('\n') == (code == 2), f'{key}: {err}'
    if code == 0:
      assert (name, key) in OF_NO_PATH or key.split('.')[-1] in NO_PATHS, f'{key} takes it'
    elif 'has one slash: gs://x is of an object store, and a folder here is ./gs:/x' in err:
      shown = 'data.source' if key == 'data.path' else key  # of a path it is made
      assert f'--config.{shown}' in err, f'{key}: {err}'
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  'spelled', ['hf:/models/gpt2', 'hf:gpt2', 'tokens:s3://bucket/parts', 'tokens:/data', 'C:/text', 'a/b:/c', './gs:/x']
)
def test_what_only_looks_like_one_is_taken(spelled):
  config = CONFIGS['gpt2'].copy_and_resolve_references()
  config.data.source = spelled
  contract.check(config, importlib.import_module('experiments.gpt2').SECTIONS)


@pytest.mark.parametrize('place', ['steppes', '{}.steppes'])
@pytest.mark.parametrize('name', NAMES)
def test_an_unknown_key_of_a_stored_config_is_named_whoever_reads_it(name, place, call, tmp_path, capsys):
  tree = CONFIGS[name].to_dict()
  section = next((key for key, value in tree.items() if isinstance(value, dict) and value), None)
  if section is None and '{}' in place:
    return  # all of its keys are outside of sections
  key = place.format(section)
  (tree[section] if '{}' in place else tree)['steppes'] = 3
  (tmp_path / 'w').mkdir()
  (tmp_path / 'w' / 'config.json').write_text(json.dumps(tree))
  experiment = importlib.import_module(f'experiments.{name}')
  for mode in experiment.MODES:
    # estimate reads the configs of other experiments too, and takes its own for its quiz.
    mode = 'quiz' if name == 'estimate' else mode
    assert experiment.main([f'--mode={mode}', '--workdir=w']) == 2
    err = capsys.readouterr().err
    assert err.startswith(f'error: w/config.json has an unknown key {key}'), mode
    assert err.count('\n') == 1


@pytest.mark.parametrize('name', NAMES)
def test_every_key_goes_through_the_check_of_its_section(name):
  experiment = importlib.import_module(f'experiments.{name}')
  with noting(CONFIGS[name]) as noted:
    contract.check(CONFIGS[name], experiment.SECTIONS)
  left = {key for key, _ in config_files.leaves(CONFIGS[name].to_dict())} - noted
  assert {key for key in left if not key.startswith('data.')} == set()
