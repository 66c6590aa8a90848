"""The MiniGPT experiment as a user calls it: the ladder, the problems, the pictures, and what it refuses."""

import json

import pytest

from experiments import mingpt
from mlsd_jax.language_model import ladder
from mlsd_jax.training import devices

pytestmark = pytest.mark.slow

SHORT = ['--config.max_steps=20', '--config.train.eval_every=10']
SAMPLE = ['--config.sample.max_new_tokens=20']
RUNGS = [
  "--config.climb=('bigram','residual_mlps','block1_heads2')",
  *('--config.rungs.residual_mlps.model.embed_dim=16', '--config.rungs.block1_heads2.model.embed_dim=16'),
]
SMALL = ['model.num_layers=1', 'model.num_heads=2', 'model.embed_dim=16', 'train.batch_size=16']


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)  # the test process has its devices already
  monkeypatch.chdir(tmp_path)
  lines = [f'{i} green bottles hanging on the wall, and if {i % 7} should fall.' for i in range(1500)]
  (tmp_path / 'song.txt').write_text('\n'.join(lines))

  def call(*arguments, source='song.txt'):
    problem = next((name for name in ('adder', 'sort', 'seq2seq') if f'--mode={name}' in arguments), None)
    small = [*SMALL, 'model.feedforward_dim=16'] if problem == 'seq2seq' else SMALL
    of_problem = [f'--config.{problem}.{option}' for option in small]
    of_ladder = [f'--config.data.source={source}', *RUNGS, *SAMPLE]
    given = [*SHORT, *(of_problem if problem else of_ladder)]
    code = mingpt.main(['--workdir=w', *given, *arguments])
    return code, *capsys.readouterr()

  return call


def test_the_ladder_and_what_it_shows(call, tmp_path):
  code, out, err = call("--config.parts=('ladder',)")
  assert code == 0, err
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  loss = result['val_loss']
  assert list(loss) == ['random', 'bigram', 'residual_mlps', 'block1_heads2']
  assert loss['bigram'] < loss['random']
  assert f'{loss["block1_heads2"]:.4f}' in out
  for rung in ('bigram', 'residual_mlps', 'block1_heads2'):
    assert (tmp_path / 'w' / 'ladder' / rung / 'samples.txt').read_text()
  assert (tmp_path / 'w' / 'plots' / 'ladder.png').read_bytes().startswith(b'\x89PNG')

  code, again, _ = call("--config.parts=('ladder',)")
  assert code == 0
  assert 'is finished' in again
  assert again.splitlines()[-4:] == out.splitlines()[-4:]

  code, out, err = call('--mode=sample', '--config.sample.prompt=if 3', '--config.sample.rung=bigram')
  assert code == 0, err
  assert '\nif 3' in out

  code, out, err = call('--mode=explain', '--config.explain.text=3 green bottles')
  assert code == 0, err
  heads = json.loads((tmp_path / 'w' / 'result.json').read_text())['heads']['block1_heads2']
  assert len(heads['induction']) == 1
  assert len(heads['induction'][0]) == 2
  for name in ('attention', 'heads', 'logit_lens'):
    assert (tmp_path / 'w' / 'plots' / f'{name}_block1_heads2.png').exists()

  code, _, err = call('--mode=explain', '--config.explain.rung=residual_mlps', '--config.explain.text=3 green')
  assert code == 2
  assert 'no attention' in err


def test_the_ladder_does_not_go_on_with_another_tokenizer(call, tmp_path, monkeypatch):
  with monkeypatch.context() as patch:
    patch.setattr(ladder, 'train_rung', lambda *_: None)  # as when it is interrupted
    assert call("--config.parts=('ladder',)")[0] == 0
  (tmp_path / 'song.txt').write_text((tmp_path / 'song.txt').read_text() + 'Ω')
  code, _, err = call("--config.parts=('ladder',)")
  assert code == 2
  assert 'has changed since the run began' in err


def test_adder_asks_for_every_sum(call, tmp_path):
  code, out, err = call('--mode=adder')
  assert code == 0, err
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  assert result['adder_sums'] == 10_000
  assert 0.0 <= result['adder_accuracy'] < 1.0
  assert 'of all 10,000 sums' in out
  assert 'is finished' in call('--mode=adder')[1]


def test_sums_beyond_those_of_training(call, tmp_path):
  options = ['--config.adder.problem.min_digits=1', '--config.adder.test_digits=(3,1)', '--config.adder.test_sums=50']
  code, _, err = call('--mode=adder', *options)
  assert code == 0, err
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  by_digits = result['adder_accuracy_by_digits']
  assert list(by_digits) == ['1', '2', '3']  # those of training, too
  assert result['adder_accuracy'] == by_digits['2']


def test_seq2seq_compares_beams_and_averages(call, tmp_path):
  options = ['--config.seq2seq.problem.name=dates', '--config.seq2seq.test_examples=20']
  code, out, err = call('--mode=seq2seq', '--config.seq2seq.train.checkpoint_every=10', *options)
  assert code == 0, err
  accuracy = json.loads((tmp_path / 'w' / 'result.json').read_text())['seq2seq_accuracy']
  assert list(accuracy) == ['last, beam 1', 'last, beam 4', 'mean of 2, beam 1', 'mean of 2, beam 4']
  assert out.count(' -> ') == 5
  assert (tmp_path / 'w' / 'plots' / 'cross_attention.png').exists()


def test_sort_runs(call, tmp_path):
  assert call('--mode=sort', '--config.sort.test_examples=50')[0] == 0
  assert 'sort_accuracy' in json.loads((tmp_path / 'w' / 'result.json').read_text())


@pytest.mark.parametrize(
  ('arguments', 'text', 'message'),
  [
    ([], '', 'empty'),
    ([], 'a' * 5000, 'only 1 distinct character'),
    (['--config.sample.prompt=Ω'], None, "'Ω' (U+03A9)"),
    (['--config.train.optimizer.learning_rate=nan'], None, 'learning_rate must be a finite number'),
    (['--config.rungs.bigram.train.optimizer.learning_rate=nan'], None, 'learning_rate must be a finite number'),
    (['--mode=adder', '--config.adder.train.optimizer.learning_rate=nan'], None, 'learning_rate must be'),
    (["--config.climb=('bigrams',)"], None, "names 'bigrams'"),
    (["--config.parts=('leader',)"], None, "names 'leader'"),
    (['--mode=seq2seq', '--config.seq2seq.problem.name=chess'], None, "'chess' is not one of"),
  ],
)
def test_mistakes_are_answered_in_one_line(call, tmp_path, arguments, text, message):
  if text is not None:
    (tmp_path / 'song.txt').write_text(text)
  code, _, err = call(*arguments)
  assert code == 2
  assert message in err
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  assert not (tmp_path / 'w' / 'config.json').exists()  # so that the corrected command may use the workdir


def test_a_workdir_without_a_run_has_nothing_to_sample(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  assert mingpt.main(['--workdir=w', '--mode=sample']) == 2
  assert 'no run was started there' in capsys.readouterr().err
