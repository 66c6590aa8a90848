"""A key or a flag without effect is refused in one line before any work, in every mode of every experiment."""

import dataclasses
import importlib
import json
import pathlib

import pytest
from absl import flags

from experiments import command_line, config_files, contract, modes

NAMES = sorted(path.stem for path in pathlib.Path(contract.__file__).parent.glob('*.py') if 'MODES' in path.read_text())
NAMES.remove('estimate')  # goes by the configs of the others (test_estimate.py)
EXPERIMENTS = {name: importlib.import_module(f'experiments.{name}') for name in NAMES}
CONFIGS = {name: config_files.load_config(f'configs/{name}/quickstart.py')[1].to_dict() for name in NAMES}
MODES = [(name, mode) for name in NAMES for mode in EXPERIMENTS[name].MODES]


def own_flags(name):
  return command_line.own_flags(getattr(EXPERIMENTS[name], '_define_flags', lambda values: None))


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  """call(name, *arguments) -> (exit code, runs seen, standard error); no mode does anything."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(contract, '_set_up_jax', lambda *_: None)
  seen = []

  def call(name, *arguments):
    parts = EXPERIMENTS[name].MODES
    for mode, part in parts.items():
      monkeypatch.setitem(parts, mode, dataclasses.replace(part, function=seen.append))
    code = EXPERIMENTS[name].main(arguments)
    return code, seen, capsys.readouterr().err

  return call


def one_of_each_section(name, taken):
  """A leaf of every section that has one for which `taken` is true, and its value."""
  found = {}
  for key, value in config_files.leaves(CONFIGS[name]):
    if taken(key) and not isinstance(value, list):
      found.setdefault(key.split('.')[0], (key, value))
  return found.values()


@pytest.mark.parametrize(('name', 'mode'), MODES)
def test_a_key_that_a_mode_does_not_go_by_is_refused(name, mode, call):
  part = EXPERIMENTS[name].MODES[mode]
  for key, value in one_of_each_section(name, lambda key: not modes.covers((*part.reads, *part.kept), key)):
    code, seen, err = call(name, f'--mode={mode}', f'--config.{key}={value}')
    assert (code, seen, err.count('\n')) == (2, [], 1), key
    assert f'--config.{key} has no effect in --mode={mode}' in err


@pytest.mark.parametrize(('name', 'mode'), MODES)
def test_a_flag_that_a_mode_does_not_go_by_is_refused(name, mode, call):
  for flag in own_flags(name):
    if flag not in EXPERIMENTS[name].MODES[mode].flags:
      values = flags.FlagValues()
      EXPERIMENTS[name]._define_flags(values)
      value = {'int': '1', 'string enum': (getattr(values[flag].parser, 'enum_values', None) or [''])[0]}
      given = f'--{flag}' if values[flag].boolean else f'--{flag}={value.get(values[flag].flag_type(), "x")}'
      code, seen, err = call(name, f'--mode={mode}', given)
      assert (code, seen, err.count('\n')) == (2, [], 1), flag
      assert f'--{flag} has no effect in --mode={mode}; it is read by --mode=' in err


@pytest.mark.parametrize(('name', 'mode'), [each for each in MODES if EXPERIMENTS[each[0]].MODES[each[1]].kept])
def test_what_the_run_was_made_with_may_be_repeated_but_not_changed(name, mode, call):
  part = EXPERIMENTS[name].MODES[mode]
  pathlib.Path('w').mkdir()
  pathlib.Path('w', 'config.json').write_text(json.dumps(CONFIGS[name]))
  for key, value in one_of_each_section(name, lambda key: modes.covers(part.kept, key)):
    number = value + 1 if isinstance(value, int | float) else f'{value}x'
    other = not value if isinstance(value, bool) else number
    code, _, err = call(name, f'--mode={mode}', '--workdir=w', f'--config.{key}={other}')
    assert (code, err.count('\n')) == (2, 1), key
    assert f'--config.{key} cannot be changed in --mode={mode}' in err
    assert call(name, f'--mode={mode}', '--workdir=w', f'--config.{key}={value}')[::2] == (0, '')
    code, _, err = call(name, f'--mode={mode}', '--workdir=elsewhere', f'--config.{key}={value}')
    assert f'--config.{key} is of the run that --mode={mode} opens, and elsewhere holds none' in err


IDLE = [
  ('gpt2', ['--init_from=hf:F', '--config.model.num_layers=6'], 'a start from hf:F has its own'),
  ('gpt2', ['--init_from=hf:F', '--config.data.tokenizer=char'], 'a start from hf:F has its own'),
  ('gpt2', ['--config.init_from=runs/f', '--config.model.use_bias=False'], 'a start from runs/f has its own'),
  ('mingpt', ['--config.sort.train.steps=3'], 'config.parts has no sort'),
  ('mingpt', ["--config.parts=('sort',)", '--config.data.source=x'], 'config.parts has no ladder'),
  ('mingpt', ["--config.climb=('bigram',)", '--config.rungs.one_head.label=x'], 'config.climb has no one_head'),
  ('mingpt', ['--config.adder.test_sums=3'], 'adder.test_digits is empty'),
  ('makemore', ["--config.ladder=('bigram',)", '--config.models.gru.learning_rate=3'], 'config.ladder has no gru'),
  ('micrograd', ["--config.datasets=('moons',)", '--config.spiral.steps=3'], 'config.datasets has no spiral'),
  ('encoder', ['--config.contrastive.chunks=2'], "config.kind is 'cross_encoder'"),
  ('encoder', ['--config.generator=hf:F'], "config.pairs.sources has no 'written'"),
  ('retrieval', ['--config.search.rerank_weight=0.5'], 'config.search.rerank is 0'),
  ('retrieval', ['--config.cross_encoder=x'], 'config.search.rerank is 0'),
  ('retrieval', ['--config.generator=x'], "config.search.expansion is 'none'"),
  ('retrieval', ['--config.search.fusion=rrf', '--config.search.dense_weight=0.1'], "config.search.fusion is 'rrf'"),
  ('recsys', ['--config.data.columns.user_id=a'], "config.data.source is 'completejourney'"),
  ('recsys', ['--config.data.source=synthetic', '--config.data.promotions=False'], "config.data.source is 'synthetic'"),
  ('algorithms', ['--mode=test', '--problem=lru_cache', '--config.compare=case_sensitive'], 'is a design problem'),
  ('algorithms', ['--mode=test', '--problem=.', '--config.sizes=(3,)'], 'is no design problem'),
]


@pytest.mark.parametrize(('name', 'arguments', 'why'), IDLE)
def test_a_key_that_the_others_leave_without_effect_is_refused(name, arguments, why, call):
  code, seen, err = call(name, *arguments)
  assert (code, seen, err.count('\n')) == (2, [], 1)
  assert ' has no effect: ' in err
  assert why in err


def test_a_finished_run_says_which_keys_came_too_late(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  text = "from ml_collections import ConfigDict\ndef get_config(): return ConfigDict({'note': 'a', 'size': 1})"
  pathlib.Path('v.py').write_text(text)

  def train(run):
    run.check(free=('note',))
    if run.result():
      return run.print_finished('well')
    run.claim(free=('note',))
    return run.write_result({'loss': 1.0})

  launch = lambda *more: contract.launch('x', {'train': train}, 'v', uses_jax=lambda _: False, argv=[*ARGUMENTS, *more])
  assert launch() == launch() == launch('--config.note=a') == 0
  assert 'had no effect' not in capsys.readouterr().out
  assert launch('--config.note=b') == 0
  assert capsys.readouterr().out == 'w is finished: well\n--config.note had no effect on it\n'


ARGUMENTS = ['--config=v.py', '--workdir=w']
