"""The micrograd experiment as a user calls it."""

import json
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from experiments import micrograd as experiment
from mlsd_jax.training import devices


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  fewer = ['--config.gif_frames=2', '--config.interpreted_steps=1', '--config.test_points=50']

  def call(*arguments, names=('moons', 'circles', 'spiral')):
    keys = ('points=20', 'hidden=(4,)', 'steps=30')
    small = [f'--config.{name}.{key}' for name in names for key in keys]
    # A tuple that is given twice is the two joined, as ml_collections has it.
    chosen = [] if any('--config.datasets=' in each for each in arguments) else [f'--config.datasets={names}']
    code = experiment.main(['--workdir=w', *chosen, *small, *fewer, *arguments])
    return code, *capsys.readouterr()

  return call


@pytest.mark.slow
def test_train_and_report(call, tmp_path):
  code, out, err = call()
  assert code == 0, err
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  assert set(result['accuracy']) == {'moons', 'circles', 'spiral'}
  assert all(0.4 < each <= 1 for each in result['accuracy'].values())
  assert result['speedup_compiled'] > 0
  for name in result['accuracy']:
    assert name in out
    with Image.open(tmp_path / 'w' / 'plots' / f'{name}.gif') as gif:
      assert gif.n_frames >= 2
    with Image.open(tmp_path / 'w' / 'plots' / f'{name}.png') as png:
      assert png.width > png.height
    saved = json.loads((tmp_path / 'w' / 'checkpoints' / f'{name}.json').read_text())
    assert saved['layers'] == [2, 4, 1]
    assert len(saved['parameters']) == 17
  assert ET.parse(tmp_path / 'w' / 'plots' / 'neuron.svg')
  records = [json.loads(line) for line in (tmp_path / 'w' / 'metrics.jsonl').read_text().splitlines()]
  assert {(record['dataset'], record['step']) for record in records} >= {('moons', 0), ('spiral', 29)}

  assert 'is finished' in call()[1]
  for path in (tmp_path / 'w' / 'checkpoints' / 'circles.json', tmp_path / 'w' / 'metrics.jsonl'):
    whole = path.read_bytes()
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    code, _, err = call()
    assert code == 2
    assert path.name in err
    assert err.count('\n') == 1
    path.write_bytes(whole)
  code, _, err = call('--config.seed=2')
  assert code == 2
  assert 'seed: 1 there, 2 here' in err


@pytest.mark.slow
def test_interpreted_gives_the_same_result(call, tmp_path):
  for engine in ('compiled', 'interpreted'):
    code, _, err = call(f'--config.engine={engine}', f'--workdir={engine}', names=('circles',))
    assert code == 0, err
  one, two = (
    json.loads((tmp_path / each / 'checkpoints' / 'circles.json').read_text()) for each in ('compiled', 'interpreted')
  )
  assert one['parameters'] == pytest.approx(two['parameters'], rel=1e-9)


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (["--config.datasets=('swirl',)"], "--config.datasets names 'swirl'; there are moons, circles, spiral"),
    (['--config.datasets=()'], 'datasets is empty'),
    (['--config.engine=steam'], 'compiled or interpreted'),
    (['--config.moons.steps=0'], 'steps must be at least 1'),
    (['--config.moons.hidden=(0,)'], 'widths of layers'),
    (['--config.spiral.momentum=1.0'], 'momentum'),
    (['--config.circles.learning_rate=-1.0'], 'learning_rate must be above 0'),
    (['--config.moons.points=1'], 'points must be at least 2, got 1'),
    (['--config.gif_frames=0'], 'gif_frames must be at least 1, got 0'),
    (['--config.draw_with=crayon'], 'auto, dot, own'),
    (['--config.wings=2'], "no key 'wings'"),
    (['--config.moons.learning_rate=1e200'], 'lower learning_rate'),
  ],
)
def test_bad_input_is_one_line(call, arguments, message):
  code, _, err = call(*arguments)
  assert code == 2
  assert message in err
  assert err.strip().count('\n') == 0
