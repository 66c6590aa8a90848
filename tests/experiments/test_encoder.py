"""The encoder experiment as a user calls it, on an index made by an encoder with random weights."""

import json
import pathlib
import shutil

import pytest

from experiments import encoder as experiment
from experiments import retrieval
from mlsd_jax.encoder.encoder import load_cross_encoder, load_encoder
from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.models import bert
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer
from mlsd_jax.training import devices

SUBJECTS = {
  'copy': 'Copy a folder and all the files in it, and keep the time each file was last changed.',
  'zip': 'Read and write compressed archives: list what they hold, and unpack one member or all of them.',
  'mail': 'Send electronic mail over a secure connection, with attachments and several recipients.',
  'date': 'Parse dates and times in many formats, and compute how many days lie between two of them.',
  'sort': 'Sort a list of numbers or names, in rising or falling order, by any key that you compute.',
}
PAIRS = ('--config.pairs.min_words=5', '--config.pairs.too_near=9.0', '--config.pairs.negatives=1')
FEW = (
  *('--config.train.steps=2', '--config.train.batch_size=8', '--config.train.accumulation=1'),
  '--config.train.optimizer.warmup_steps=0',
)
SHORT = {
  'cross_encoder': ('--config.cross_encoder.length=32',),
  'contrastive': ('--config.contrastive.query_length=16', '--config.contrastive.passage_length=32'),
  'masked_lm': ('--config.masked_lm.length=32',),
}


def write_page(folder, name, text, sections=5):
  parts = [f'# Handbook page on {name}\n']
  parts += [
    f'\n## Chapter {i} of what {name} does\n\n{text} Part {i} of the page about {name}.\n' for i in range(sections)
  ]
  (folder / f'{name}.md').write_text(''.join(parts))


OF_ENCODER = ('--config.encoder.name=small', '--config.encoder.max_length=64')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  """A folder with w, a retrieval workdir with an index, of docs, made by the encoder small."""
  folder = tmp_path_factory.mktemp('made')
  tokenizer = WordPieceTokenizer.train(list(SUBJECTS.values()), 200)
  config = bert.BertConfig(
    vocab_size=tokenizer.vocab_size, context_length=128, num_layers=1, num_heads=2, embed_dim=16, mlp_dim=16
  )
  fresh_encoder('small', config, tokenizer).save(folder / 'small')
  (folder / 'docs').mkdir()
  for name, text in SUBJECTS.items():
    write_page(folder / 'docs', name, text)
  chunks = ('--config.chunk.max_tokens=60', '--config.chunk.min_tokens=10', '--config.chunk.overlap=0')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(devices, 'configure_backend', lambda **_: None)
    patch.setattr(retrieval, '_evaluate', lambda *_: None)
    patch.chdir(folder)
    assert retrieval.main(['--workdir=w', '--config.data.source=docs', *OF_ENCODER, *chunks]) == 0
  return folder


@pytest.fixture
def call(made, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  shutil.copytree(made, tmp_path, dirs_exist_ok=True)

  def call(*arguments, workdir='e'):
    code = experiment.main([f'--workdir={workdir}', '--config.data.source=w', *OF_ENCODER, *arguments])
    return code, *capsys.readouterr()

  return call


@pytest.mark.parametrize('kind', ['cross_encoder', 'contrastive', 'masked_lm'])
def test_a_training_from_pairs_to_a_folder_that_loads(call, kind):
  code, out, err = call(f'--config.kind={kind}', *SHORT[kind], *PAIRS, *FEW)
  assert code == 0, err
  result = json.loads(pathlib.Path('e', 'result.json').read_text())
  assert result['steps'] == 2
  assert result['checkpoint_step'] == 2
  assert result['val_loss'] > 0
  assert result['held_out_pairs'] >= 1
  for measure in ('accuracy', 'mrr'):
    assert set(result[measure]) == {'before', 'trained'}
    assert all(0 <= value <= 1 for value in result[measure].values())
  (load_cross_encoder if kind == 'cross_encoder' else load_encoder)('e/model')
  assert pathlib.Path('e', 'plots', 'loss.png').stat().st_size > 5000

  code, out, err = call(f'--config.kind={kind}', *SHORT[kind], *PAIRS, *FEW)
  assert (code, err) == (0, '')
  assert 'e is finished' in out
  code, out, err = call('--mode=evaluate', f'--config.kind={kind}', *SHORT[kind], *PAIRS, *FEW)
  assert code == 0, err
  assert json.loads(pathlib.Path('e', 'result.json').read_text()) == result


def test_what_the_evaluation_asks_for_is_held_back(call, monkeypatch):
  """Pairs come of the index in which it is hidden, where there is one."""
  shutil.copytree(pathlib.Path('w', 'index'), pathlib.Path('w', 'evaluation'))
  learnt_from = []

  def pairs(_, encoder, stores):
    learnt_from.append(stores[pathlib.Path('w')].folder.parent.name)
    raise KeyboardInterrupt

  monkeypatch.setattr(experiment, '_pairs', pairs)
  for held_back in (True, False):
    assert call(f'--config.data.held_back={held_back}')[0] == 130
  assert learnt_from == ['evaluation', 'index']


def test_a_training_goes_on_only_with_what_it_began_with(call, monkeypatch, capsys):
  began = []

  def train(encoder, rest, config, folder, held):
    began.append(folder)
    (folder / 'metrics.jsonl').write_text('')  # without which nothing was made, and the claim is taken back
    raise KeyboardInterrupt

  monkeypatch.setattr(experiment, 'train_cross_encoder', train)
  assert call(*PAIRS, '--config.pairs.negatives=99')[0] == 2  # which leaves the folder to the mended command
  assert not pathlib.Path('e').exists()
  assert call(*PAIRS)[0] == 130
  assert call(*PAIRS, '--config.train.log_every=7')[0] == 130
  code, _, err = call(*PAIRS, '--config.pairs.negatives=2', '--config.train.steps=33')
  assert code == 2
  assert 'e holds a run with another config' in err
  assert 'pairs.negatives: 1 there, 2 here' in err
  assert 'train.steps: 100 there, 33 here' in err
  assert 'log_every' not in err
  write_page(pathlib.Path('docs'), 'more', 'There is more of it now.')
  assert retrieval.main(['--workdir=w', '--mode=update']) == 0
  capsys.readouterr()
  code, _, err = call(*PAIRS)
  assert code == 2
  assert "begun with other data (w: 'generation-000001' there" in err
  assert began == [pathlib.Path('e')] * 2


def test_pairs_of_several_indexes(call):
  code, out, err = call("--config.data.source=('w','w/../w')", *SHORT['cross_encoder'], *PAIRS, *FEW)
  assert code == 0, err
  assert out.count(' pairs, one in twenty held out') == 2


@pytest.mark.parametrize(
  ('workdir', 'command'),
  [
    ('runs/retrieval/quickstart', 'python -m experiments.retrieval\n'),
    ('runs/retrieval/vmware', 'python -m experiments.retrieval --config=configs/retrieval/vmware.py\n'),
    ('runs/retrieval/judged-scifact', 'python -m experiments.retrieval --config=configs/retrieval/judged.py:scifact\n'),
    ('mine', 'python -m experiments.retrieval --config.data.source=FOLDER --workdir=mine\n'),
  ],
)
def test_a_missing_index_is_answered_with_the_command_that_makes_it(call, workdir, command):
  code, _, err = call(f'--config.data.source={workdir}')
  assert code == 2
  assert err == f'error: {workdir} holds no index to take pairs from; make it with: {command}'


@pytest.mark.parametrize(
  ('arguments', 'why'),
  [
    (['--config.kind=x'], 'not one of cross_encoder'),
    (['--config.kind=contrastive', '--config.contrastive.temperature=0.0'], 'temperature'),
    (['--config.pairs.sources=("x",)'], 'pairs.sources'),
    (['--config.pairs.sources=("written",)'], 'language model'),
    (['--config.pairs.min_words=500'], 'no pairs'),
    (['--config.train.steps=0'], 'train.steps'),
    (['--config.encoder.name=nowhere/at-all'], 'nowhere/at-all'),
    (
      ['--config.cross_encoder.length=129'],
      '--config.cross_encoder.length=129 is longer than the 128 positions of small',
    ),
    (['--config.contrastive.chunks=2'], "has no effect: --config.kind is 'cross_encoder'"),
    (['--mode=evaluate'], 'is of the run that --mode=evaluate opens'),
  ],
)
def test_mistakes_are_one_line_and_leave_nothing(call, arguments, why):
  code, _, err = call(*arguments)
  assert code == 2
  assert why in err
  assert err.count('\n') == 1
  assert not pathlib.Path('e').exists()
