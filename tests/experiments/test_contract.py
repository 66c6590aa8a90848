"""The command line every experiment shares: overrides, one-line errors, a workdir that is never overwritten."""

import dataclasses
import importlib
import json
import pathlib
import subprocess
import sys

import pytest

from experiments import config_files, contract
from mlsd_jax.errors import UserError
from mlsd_jax.training import devices

CONFIG = """
from ml_collections import ConfigDict
def get_config(arg='small'):
  return ConfigDict({
    'size': arg, 'data': {'source': 'sea', 'path': ''}, 'train': {'steps': 10, 'rate': 0.1}, 'files': ('a',),
    'note': '', 'shuffled': True,
  })
"""
RENAMED = {
  '--config.waters': '--config.data.source',
  '--config.fit': '--config.train',
  '--config.sails': 'python -m experiments.boat --config.sails',
  '--mode=fit': '--mode=train',
  '--mode=sail': 'python -m experiments.boat',
  '--vast': '--config.size=vast',
}


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

  def fail_late(run):
    run.claim(data={'sea': 1})
    (run.workdir / 'checkpoints').mkdir()
    if run.config.note:
      (run.workdir / run.config.note).write_text('')
    raise UserError('the warmup is too long') if run.config.size == 'small' else KeyboardInterrupt

  def call(*arguments):
    modes = {'train': train, 'fail': fail, 'crash': crash, 'fail_late': fail_late}
    code = contract.launch('thing', modes, 'missing', renamed=RENAMED, argv=arguments)
    out, err = capsys.readouterr()
    return code, seen, out, err

  return call


def test_overrides_reach_the_config(call):
  code, seen, _, _ = call('--config=variant.py:big', '--config.train.steps=20', '--config.train.rate', '0.5')
  assert code == 0
  assert seen[0].config.to_dict() == {
    'size': 'big',
    'data': {'source': 'sea', 'path': ''},
    'train': {'steps': 20, 'rate': 0.5},
    'files': ('a',),
    'note': '',
    'shuffled': True,
  }
  assert str(seen[0].workdir) == 'runs/thing/variant-big'
  assert json.loads((seen[0].workdir / 'config.json').read_text())['train']['steps'] == 20


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--config.train.stepz=1'], "config.train has no key 'stepz'; its keys are rate, steps"),
    (['--config.wings.x=1'], "config has no key 'wings'"),
    (['--config.size.x=1'], "config.size has no key 'x'; it is a single value"),
    (['--config.train.steps=many'], "--config.train.steps must be int (a whole number), got 'many'"),
    (['--config.train.steps='], "--config.train.steps must be int (a whole number), got ''"),
    (['--config.train.steps', '1.5'], "--config.train.steps must be int (a whole number), got '1.5'"),
    (['--config.train.rate=fast'], "--config.train.rate must be float (a number), got 'fast'"),
    (['--config.shuffled=1.5'], "--config.shuffled must be bool (True or False), got '1.5'"),
    (['--num_processes=two'], "--num_processes must be int (a whole number), got 'two'"),
    (['--config.files[3]=b'], "config.files[3] cannot be set, as no part of a value can; config.files is ('a',)"),
    (['--config.files[=b'], 'config.files[ cannot be set'),
    (['--config.train=3'], 'config.train is a section, whose keys are set one by one: --config.train.'),
    (["--config.train={'steps': 3}"], 'config.train is a section, whose keys are set one by one'),
    (['--config.note[0]=b'], "config.note is ''"),
    (
      ['--config.note', '--mode=train'],
      '--config.note needs a value; --mode=train would be --config.note=--mode=train',
    ),
    (['--config.note'], '--config.note needs a value'),
    (['--workdir', '--mode=train'], '--workdir needs a value'),
    (['--mode=dance'], 'dance'),
    (['--config.waters=lake'], '--config.waters is now --config.data.source'),
    (['--config.waters', 'lake'], '--config.waters is now --config.data.source'),
    (['--config.fit.steps=3'], '--config.fit.steps is now --config.train.steps'),
    (['--config.sails.area=3'], '--config.sails.area is now python -m experiments.boat --config.sails.area'),
    (['--mode=fit'], '--mode=fit is now --mode=train'),
    (['--mode', 'sail'], '--mode=sail is now python -m experiments.boat'),
    (['-vast'], '--vast is now --config.size=vast'),
    (['--config.data.source=a', '--config.data.path=b'], 'are both given'),
    (['--speed=9'], 'speed'),
    (['stray'], "unexpected argument 'stray'"),
    (['--workdir'], 'workdir'),
    (['--workdir=a\udcff'], r"'--workdir=a\udcff' is no text in UTF-8"),
    (['--config.note=\udce9'], 'is no text in UTF-8'),
    (['--num_processes=2'], 'coordinator'),
    (['--mode=fail'], 'error: the disk is full'),
  ],
)
def test_a_mistake_is_one_line_and_exit_code_2(call, arguments, message):
  code, seen, _, err = call('--config=variant.py', *arguments)
  assert (code, seen) == (2, [])
  assert message in err
  assert err.count('\n') == 1


def test_of_a_flag_given_twice_the_last_counts_and_a_line_says_so(call):
  twice = [
    '--config.train.steps=5',
    "--config.files=('b',)",
    '--config.train.rate',
    '3',
    '--workdir=a',
    '--config.note=x',
  ]
  last = [
    '--workdir=b',
    '--config.train.rate=4',
    '--config.train.steps',
    '7',
    "--config.files=('c',)",
    '--config.note=x',
  ]
  code, seen, _, err = call('--config=nowhere.py', *twice, *last, '--config', 'variant.py')
  assert code == 0
  config = seen[0].config.to_dict()
  assert (config['train'], config['files'], str(seen[0].workdir)) == ({'steps': 7, 'rate': 4.0}, ('c',), 'b')
  assert "--config.train.steps is given twice, as '5' and as '7': the last counts" in err
  assert "--config is given twice, as 'nowhere.py' and as 'variant.py': the last counts" in err
  assert err.count('\n') == 5


@pytest.mark.parametrize(
  ('spec', 'message'),
  [
    ('nowhere.py', 'no config file nowhere.py'),
    ('configs/gpt2/nope.py', 'configs/gpt2 has finetune_shakespeare, forms, gpt2_124m'),
    ('empty.py', 'has no get_config'),
    ('fixed.py:x', "takes no argument, but 'x' was given"),
    ('broken.py', 'broken.py'),
    ('old.py', 'old.py: --config.fit.rate is now --config.train.rate'),
  ],
)
def test_a_config_that_cannot_be_used_is_named(call, tmp_path, spec, message):
  (tmp_path / 'empty.py').write_text('')
  (tmp_path / 'broken.py').write_text('def get_config(:')
  (tmp_path / 'fixed.py').write_text('def get_config(): return None')
  (tmp_path / 'old.py').write_text(CONFIG.replace("'train'", "'fit'"))
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


def test_a_path_is_read_whether_it_is_given_as_path_or_as_source(call):
  assert call('--config=variant.py', '--workdir=w', '--config.data.path=lake.txt')[0] == 0
  code, seen, _, err = call('--config=variant.py', '--workdir=w', '--config.data.source=lake.txt')
  assert code == 0, err
  assert [run.config.data.source for run in seen] == ['lake.txt'] * 2


def test_a_workdir_with_old_names_opens(call):
  call('--config=variant.py', '--workdir=w')
  old = {'size': 'small', 'waters': 'lake', 'fit': {'steps': 10, 'rate': 0.1}, 'sails': 1, 'files': ['a'], 'note': ''}
  old |= {'data': {'path': ''}, 'shuffled': True}
  with open('w/config.json', 'w') as file:
    json.dump(old, file)
  code, seen, _, err = call('--workdir=w', '--config.note=again')
  assert code == 0, err
  assert seen[-1].config.to_dict() == {
    'size': 'small',
    'data': {'source': 'lake', 'path': ''},
    'train': {'steps': 10, 'rate': 0.1},
    'files': ('a',),
    'note': 'again',
    'shuffled': True,
  }
  with open('w/config.json', 'w') as file:
    json.dump(old, file)
  code, seen, _, err = call('--config=variant.py', '--workdir=w', '--config.data.source=lake')
  assert code == 0, err
  assert call('--config=variant.py', '--workdir=w', '--config.data.source=river')[0] == 2


@pytest.mark.parametrize('size', ['small', 'big'])
def test_a_start_that_failed_leaves_nothing_behind(call, size):
  arguments = [f'--config=variant.py:{size}', '--workdir=deep/w', '--mode=fail_late', '--config.train.steps=60']
  assert call(*arguments)[0] == (2 if size == 'small' else 130)
  assert not pathlib.Path('deep').exists()
  assert call('--config=variant.py', '--workdir=deep/w')[0] == 0


def test_a_start_that_failed_after_it_made_something_keeps_it(call):
  assert call('--config=variant.py', '--workdir=w', '--mode=fail_late', '--config.note=shard')[0] == 2
  assert {path.name for path in pathlib.Path('w').iterdir()} == {'config.json', 'data.json', 'checkpoints', 'shard'}


def test_a_start_that_failed_leaves_what_was_there_before(call):
  pathlib.Path('w', 'empty').mkdir(parents=True)
  pathlib.Path('w', 'tokenizer.json').write_text('my own')
  assert call('--config=variant.py', '--workdir=w', '--mode=fail_late')[0] == 2
  assert {path.name for path in pathlib.Path('w').iterdir()} == {'empty', 'tokenizer.json'}
  assert pathlib.Path('w', 'tokenizer.json').read_text() == 'my own'
  assert call('--config=variant.py', '--workdir=w')[0] == 0
  assert call('--config=variant.py', '--workdir=w', '--mode=fail_late')[0] == 2
  assert {'config.json', 'result.json'} <= {path.name for path in pathlib.Path('w').iterdir()}


def test_other_data_is_refused(call):
  assert call('--config=variant.py', '--workdir=w', '--mode=fail_late', '--config.note=shard')[0] == 2
  pathlib.Path('w', 'data.json').write_text('{"sea": 2}')
  code, _, _, err = call('--workdir=w', '--mode=fail_late')
  assert code == 2
  assert err == 'error: w was begun with other data (sea: 2 there, 1 here); choose another --workdir\n'


def test_the_second_of_two_runs_is_answered_with_the_process_of_the_first(call):
  code = "import mlsd_jax.sealed as s, time\nwith s.lock('w'): print('locked', flush=True); time.sleep(600)"
  with subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE) as first:
    assert first.stdout.readline() == b'locked\n'
    code, _, _, err = call('--config=variant.py', '--workdir=w')
    assert code == 2
    assert f'w is being written by process {first.pid}' in err
    assert err.count('\n') == 1
    assert not pathlib.Path('w', 'config.json').exists()
    first.kill()
    first.wait()
  assert call('--config=variant.py', '--workdir=w')[0] == 0  # the lock of a dead process does not count
  assert not pathlib.Path('w', '.lock').exists()


def test_choices_by_hand_are_looked_at_and_told_where_they_come_too_late(call, monkeypatch, capsys):
  monkeypatch.setenv('MLSD_CHOICES', 'microbatches=many')
  code, seen, _, err = call('--config=variant.py', '--workdir=w')
  assert (code, seen) == (2, [])
  assert err == "error: MLSD_CHOICES='microbatches=many' is not a list such as 'microbatches=8'\n"
  monkeypatch.setenv('MLSD_CHOICES', 'microbatches=2')
  _, seen, _, _ = call('--config=variant.py', '--workdir=w')
  seen[0].print_finished('done')
  assert capsys.readouterr().out == 'w is finished: done\nMLSD_CHOICES had no effect on it\n'


def test_results_add_up(call):
  _, seen, _, _ = call('--config=variant.py')
  seen[0].write_result({'score': 2})
  assert seen[0].result() == {'loss': 1.0, 'score': 2}


def test_help_names_configs_modes_and_flags(call):
  code, seen, out, _ = call('--help')
  assert (code, seen) == (0, [])
  for word in ('Does the work.', '--workdir', '--coordinator', '--mode'):
    assert word in out


EXPERIMENTS = sorted(
  path.stem for path in pathlib.Path(contract.__file__).parent.glob('*.py') if 'MODES' in path.read_text()
)
EXPERIMENTS.remove('estimate')  # goes by the configs of the others (test_estimate.py)


@pytest.fixture
def call_experiment(tmp_path, monkeypatch, capsys):
  """call(name, *arguments) -> (exit code, runs seen, standard error); no mode of the experiment does anything."""
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(contract, '_set_up_jax', lambda *_: None)
  seen = []

  def call(name, *arguments):
    experiment = importlib.import_module(f'experiments.{name}')
    for name_of_mode, mode in experiment.MODES.items():
      monkeypatch.setitem(experiment.MODES, name_of_mode, dataclasses.replace(mode, function=seen.append))
    return experiment.main(arguments), seen, capsys.readouterr().err

  return call


def renamed(name):
  return getattr(importlib.import_module(f'experiments.{name}'), 'RENAMED', {})


@pytest.mark.parametrize('name', EXPERIMENTS)
def test_old_names_are_refused_and_old_workdirs_open(name, call_experiment):
  config = config_files.load_config(f'configs/{name}/quickstart.py')[1]
  pathlib.Path('w').mkdir()
  values = config.to_dict()
  for old, new in renamed(name).items():
    code, _, err = call_experiment(name, old if '=' in old else f'{old}=x')
    assert (code, err) == (2, f'error: {old} is now {new}\n')
    if new.startswith('--config.'):
      move(values, new.removeprefix('--config.'), old.removeprefix('--config.'))
  pathlib.Path('w', 'config.json').write_text(json.dumps(values))
  code, seen, err = call_experiment(name, '--workdir=w')
  assert code == 0, err
  run = seen[-1]
  assert config_files.differences(run.stored, run.config.to_dict()) == ''
  assert config_files.differences(run.config.to_dict(), config.to_dict(), ['data.source']) == ''


def move(tree, key, to):
  *sections, last = key.split('.')
  *new_sections, new_last = to.split('.')
  node, new = tree, tree
  for section in sections:
    node = node[section]
  for section in new_sections:
    new = new[section]
  new[new_last] = node.pop(last)


@pytest.mark.parametrize(
  'name', [name for name in EXPERIMENTS if name not in ('algorithms', 'encoder', 'micrograd', 'serve', 'shard_search')]
)
def test_every_experiment_reads_data_source_or_data_path(name, call_experiment):
  pathlib.Path('own.csv').write_text('a')
  code, seen, err = call_experiment(name, '--config.data.source=own.csv')
  assert code == 0, err
  code, seen, err = call_experiment(name, '--config.data.path=own.csv')
  assert code == 0, err
  first, second = seen
  assert config_files.differences(first.config.to_dict(), second.config.to_dict()) == ''
  assert 'own.csv' in (first.config.data.source, first.config.data.path)


@pytest.mark.parametrize(
  ('name', 'arguments', 'message'),
  [
    ('gpt2', ['--config.train.steps=60'], 'warmup_steps=100 must be below the 60 steps'),
    ('gpt2', ['--config.sample.top_p=2.0'], 'top_p'),
    ('gpt2', ['--config.sample.num_samples=0'], 'num_samples'),
    ('gpt2', ['--config.train.mesh.data=3'], 'mesh'),
    ('makemore', ['--config.models.transformer.warmup_steps=10000'], 'warmup_steps'),
    ('makemore', ['--config.seeds=()'], 'seeds'),
    ('mingpt', ['--config.adder.train.optimizer.warmup_steps=10000'], 'warmup_steps'),
    ('mingpt', ['--mode=sort', '--config.sort.model.num_heads=3'], 'num_heads'),
    ('recsys', ['--config.tower.train.optimizer.warmup_steps=10000'], 'warmup_steps'),
    ('retrieval', ['--config.evaluate.known_items=x'], 'known_items'),
    ('retrieval', ['--config.search.rerank=20'], 'requires a cross-encoder'),
    ('retrieval', ['--config.search.expansion=hyde'], 'requires a language model'),
    ('tokenizer', ['--config.ties=coin'], 'ties'),
    ('micrograd', ['--config.engine=steam'], 'engine'),
    ('algorithms', ['--config.limits.time=0.0'], 'limits'),
  ],
)
def test_a_mistake_is_found_before_the_workdir_is_claimed(name, arguments, message, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  code = importlib.import_module(f'experiments.{name}').main(['--workdir=w', *arguments])
  err = capsys.readouterr().err
  assert code == 2
  assert message in err
  assert err.count('\n') == 1
  assert not pathlib.Path('w').exists()


@pytest.mark.parametrize(
  ('workdir', 'message'),
  [
    ('s3://bucket/run', 'not in an object store'),
    ('gs://bucket/run', 'not in an object store'),
    ('gs:/bucket/run', 'has one slash: gs://bucket/run is of an object store, and a folder here is ./gs:/bucket/run'),
    ('file:///a/run', 'a run lies in a folder, named by its path: --workdir=/a/run'),
    ('file:/a/run', '--workdir=/a/run'),
  ],
)
def test_a_workdir_that_is_an_address_is_refused(workdir, message, tmp_path, monkeypatch, capsys):
  """As a path it would be a folder of the name s3: here."""
  monkeypatch.chdir(tmp_path)
  assert importlib.import_module('experiments.micrograd').main([f'--workdir={workdir}']) == 2
  err = capsys.readouterr().err
  assert message in err
  assert err.count('\n') == 1
  assert not list(tmp_path.iterdir())


CONFIGS = sorted(
  str(path.relative_to(config_files.REPOSITORY))
  for path in (config_files.REPOSITORY / 'configs').glob('*/*.py')
  if not path.stem.startswith('_')
)


def help_of(config, capsys):
  name = pathlib.Path(config).parent.name
  assert importlib.import_module(f'experiments.{name}').main(['--help', f'--config={config}']) == 0
  return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize('config', CONFIGS)
def test_help_lists_every_key_of_every_config(config, capsys):
  lines = help_of(config, capsys)
  assert [line for line in lines if len(line) > 100] == []
  shown = ' '.join(' '.join(lines).split())
  values = dict(config_files.leaves(config_files.load_config(config)[1].to_dict()))
  keys = [line.split()[0] for line in lines if line[:2] == '  ' and line[2] != ' ' and ' = ' in line]
  assert keys == list(values)
  commented = 0
  for line, after in zip(lines, [*lines[1:], ''], strict=True):
    if line[:2] == '  ' and ' = ' in line and line[2] != ' ':
      commented += (len(line) > 44 and line[43] == ' ') or after.startswith(' ' * 44)
  assert commented > len(values) / 2, f'{commented} of {len(values)} keys have a comment'
  assert 'the default is configs/' in shown


def test_help_shows_comments_of_configs_and_of_classes(capsys):
  lines = help_of('configs/recsys/quickstart.py', capsys)
  shown = ' '.join(' '.join(lines).split())
  assert 'funnel.keep = 300 candidates of a user that the ranker sees' in shown  # of configs/recsys/_base.py
  assert 'tower.train.accumulation = 1 microbatches a step' in shown  # of TrainConfig
