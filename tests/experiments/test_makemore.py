"""The makemore experiment as a user calls it."""

import importlib
import json

import pytest

from experiments import makemore as experiment
from mlsd_jax import sealed
from mlsd_jax.data.words import WordList
from mlsd_jax.errors import UserError
from mlsd_jax.makemore import rungs
from mlsd_jax.training import devices

LADDER = "--config.ladder=('ngram', 'bigram', 'mlp_norm', 'gru')"
SOURCE = '--config.data.source=rivers.txt'
SMALL = (
  *(LADDER, SOURCE, '--config.sample.number=50'),
  *('--config.models.bigram.learning_rate=0.05', '--config.train.steps=60', '--config.train.steps_per_dispatch=20'),
)


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  syllables = ['ma', 'lo', 'ri', 'ten', 'ka', 'su']
  rivers = [a + b + c for a in syllables for b in syllables for c in ['', *syllables]]
  (tmp_path / 'rivers.txt').write_text('\n'.join(rivers))

  def call(*arguments):
    code = experiment.main(['--workdir=w', *arguments])
    return code, *capsys.readouterr()

  return call


@pytest.mark.slow
def test_the_ladder_and_what_can_be_asked_of_it(call, tmp_path):
  code, out, err = call(*SMALL)
  assert code == 0, err
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  names = {'ngram', 'bigram', 'mlp_norm', 'gru'}
  assert set(result['test_loss']) == names
  assert set(result['steps_per_second']) == names - {'ngram'}
  assert 0 <= result['novel_share'] <= 1
  assert result['test_loss']['ngram'] < result['test_loss']['bigram'] < result['uniform_guess']
  assert (tmp_path / 'w' / 'plots' / 'ladder.png').read_bytes().startswith(b'\x89PNG')
  assert 'is finished' in call(*SMALL)[1]

  code, out, err = call('--mode=score', '--word=malori, su')
  assert code == 0, err
  assert 'mlp_norm' in out
  assert (tmp_path / 'w' / 'plots' / 'score_malori.png').exists()
  assert call('--mode=sample')[0] == 0
  for arguments, message in [
    (['--mode=score', '--word=xyz'], "character 'x'"),
    (['--mode=score', '--word=malorilorima'], 'at most 9'),
    (['--mode=score'], 'needs --word'),
  ]:
    code, _, err = call(*arguments)
    assert (code, message in err, err.strip().count('\n')) == (2, True, 0), err


@pytest.mark.parametrize('name', ['quickstart', 'transformer', 'two_thousand_steps'])
def test_every_rung_that_is_shipped_has_settings_of_its_kind(name):
  config = importlib.import_module(f'configs.makemore.{name}').get_config()
  words = WordList.split('few', ['ab', 'ba', 'abba', 'baab'])
  for settings in config.models.values():
    assert experiment._train_config(config, settings, 0).steps == settings.get('steps', config.train.steps)
    if settings.kind == rungs.COUNTED:
      assert rungs.counted_order(settings, words) == settings.order
    else:
      assert rungs.model_config(settings, words).kind == settings.kind


@pytest.mark.slow
def test_search_and_diagnose(call, tmp_path):
  settings = [f'--config.search.{name}={value}' for name, value in dict(trials=8, steps=40, batch_size=8).items()]
  code, out, err = call('--mode=search', SOURCE, *settings)
  assert code == 0, err
  rows = json.loads((tmp_path / 'w' / 'search.json').read_text())
  assert len(rows) == 8
  assert rows[0]['val_loss'] == min(row['val_loss'] for row in rows)
  sealed.check_file(tmp_path / 'w' / 'search.json')
  (tmp_path / 'w' / 'search.json').write_text(json.dumps(rows))
  with pytest.raises(UserError, match=r'search\.json'):
    sealed.check_file(tmp_path / 'w' / 'search.json')
  code, out, err = call('--mode=diagnose', SOURCE, '--config.diagnose.steps=20')
  assert code == 0, err
  assert 'dead units' in out
  for plot in ('search', 'diagnose'):
    assert (tmp_path / 'w' / 'plots' / f'{plot}.png').exists()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--config.data.source=empty.txt'], 'holds no word'),
    (['--config.data.source=one.txt'], 'one character'),
    (['--config.data.source=nowhere.txt'], 'no list of words'),
    (["--config.ladder=('cnn',)"], "names 'cnn'"),
    ([LADDER, '--config.models.gru.learning_rate=nan'], 'learning_rate'),
    ([LADDER, '--config.train.accumulation=2'], 'train.accumulation=2 would hide'),
    ([LADDER, '--config.train.step=pmap', '--config.train.mesh.fsdp=2'], 'train.step=pmap splits'),
    (['--mode=sample'], 'holds no trained model'),
    (['--mode=search', '--config.search.low=nan'], '--config.search.low must be above 0, got nan'),
  ],
)
def test_bad_input_is_one_line(call, tmp_path, arguments, message):
  (tmp_path / 'empty.txt').write_text('\n')
  (tmp_path / 'one.txt').write_text('a\naa\naaa\naaaa\n')
  of_workdir = '--mode=sample' in arguments  # which knows its words
  code, _, err = call(*([] if of_workdir else [SOURCE]), *arguments)
  assert code == 2
  assert message in err
  assert err.strip().count('\n') == 0
