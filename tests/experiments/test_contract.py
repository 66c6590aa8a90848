"""The command line every experiment shares: overrides, one-line errors, a workdir that is never overwritten."""

import json

import pytest

from experiments import contract
from mlsd_jax.errors import UserError
from mlsd_jax.training import devices

CONFIG = """
from ml_collections import ConfigDict
def get_config(arg='small'):
  return ConfigDict({'size': arg, 'train': {'steps': 10, 'rate': 0.1}, 'files': ('a',), 'note': ''})
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  """call(*arguments) -> (exit code, runs seen, standard output, standard error)."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  (tmp_path / 'variant.py').write_text(CONFIG)
  seen = []

  def train(run):
    """Does the work."""
    run.claim(free=('note',))
    run.write_result({'loss': 1.0})
    seen.append(run)

  def fail(run):
    raise UserError('the disk\nis full')

  def crash(run):
    raise RuntimeError('a bug')

  def call(*arguments):
    modes = {'train': train, 'fail': fail, 'crash': crash}
    code = contract.launch('thing', modes, 'missing', argv=arguments)
    out, err = capsys.readouterr()
    return code, seen, out, err

  return call


def test_overrides_reach_the_config(call):
  code, seen, _, _ = call('--config=variant.py:big', '--config.train.steps=20', '--config.train.rate', '0.5')
  assert code == 0
  assert seen[0].config.to_dict() == {
    'size': 'big',
    'train': {'steps': 20, 'rate': 0.5},
    'files': ('a',),
    'note': '',
  }
  assert str(seen[0].workdir) == 'runs/thing/variant-big'
  assert json.loads((seen[0].workdir / 'config.json').read_text())['train']['steps'] == 20


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--config.train.stepz=1'], "config.train has no key 'stepz'; its keys are rate, steps"),
    (['--config.wings.x=1'], "config has no key 'wings'"),
    (['--config.size.x=1'], "config.size has no key 'x'; it is a single value"),
    (['--config.train.steps=many'], 'many'),
    (['--mode=dance'], 'dance'),
    (['--speed=9'], 'speed'),
    (['stray'], "unexpected argument 'stray'"),
    (['--workdir'], 'workdir'),
    (['--num_processes=2'], 'coordinator'),
    (['--mode=fail'], 'error: the disk is full'),
  ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, arguments, message):
  code, seen, _, err = call('--config=variant.py', *arguments)
  assert (code, seen) == (2, [])
  assert message in err
  assert err.count('\n') == 1


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ('nowhere.py', 'no config file nowhere.py'),
    ('configs/gpt2/nope.py', 'configs/gpt2 has finetune_shakespeare, gpt2_124m'),
    ('empty.py', 'has no get_config'),
    ('fixed.py:x', "takes no argument, but 'x' was given"),
    ('broken.py', 'broken.py'),
  ],
)
def test_a_config_that_cannot_be_used_is_named(call, tmp_path, spec, message):
  (tmp_path / 'empty.py').write_text('')
  (tmp_path / 'broken.py').write_text('def get_config(:')
  (tmp_path / 'fixed.py').write_text('def get_config(): return None')
  code, _, _, err = call(f'--config={spec}')
  assert code == 2
  assert message in err


def test_a_bug_keeps_its_traceback(call):
  with pytest.raises(RuntimeError, match='a bug'):
    call('--config=variant.py', '--mode=crash')


def test_a_workdir_of_another_config_is_refused_and_left_alone(call):
  assert call('--config=variant.py', '--workdir=w')[0] == 0
  code, _, _, err = call('--config=variant.py', '--workdir=w', '--config.train.steps=11')
  assert code == 2
  assert 'train.steps: 10 there, 11 here' in err
  with open('w/config.json') as file:
    assert json.load(file)['train']['steps'] == 10
  assert call('--config=variant.py', '--workdir=w', '--config.note=free')[0] == 0


def test_a_workdir_remembers_its_config(call):
  call('--config=variant.py:big', '--workdir=w', '--config.train.steps=11')
  code, seen, _, _ = call('--workdir=w', '--config.note=again')
  assert code == 0
  assert (seen[-1].config.size, seen[-1].config.train.steps, seen[-1].config.note) == ('big', 11, 'again')


def test_results_add_up(call):
  _, seen, _, _ = call('--config=variant.py')
  seen[0].write_result({'score': 2})
  assert seen[0].result() == {'loss': 1.0, 'score': 2}


def test_help_names_configs_modes_and_flags(call):
  code, seen, out, _ = call('--help')
  assert (code, seen) == (0, [])
  for word in ('Does the work.', '--workdir', '--coordinator', '--mode'):
    assert word in out
