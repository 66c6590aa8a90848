"""The tokenizer experiment as a user calls it."""

import json

import pytest
import tiktoken
from tokenizers import Tokenizer

from experiments import tokenizer as experiment
from mlsd_jax import tokenizers
from mlsd_jax.language_model import tokenizer_comparison
from mlsd_jax.tokenizers import exchange
from mlsd_jax.training import devices


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'song.txt').write_text('\n'.join(f'{i} green bottles, and if {i % 7} should fall' for i in range(900)))

  def call(*arguments):
    alone = [] if '--mode=compare' in arguments else ['--config.compare=()']
    code = experiment.main(['--workdir=w', *alone, *arguments])
    return code, *capsys.readouterr()

  return call


TRAIN = ('--config.data.source=song.txt', '--config.vocab_size=300')


def test_train_and_show(call, tmp_path):
  code, out, err = call(*TRAIN)
  assert code == 0, err
  assert 'first merges' in out
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  assert {'vocab_size', 'bytes_per_token', 'train_seconds', 'encode_mb_per_second'} <= set(result)
  assert result['vocab_size'] == 300
  for plot in ('compression', 'zipf'):
    assert (tmp_path / 'w' / 'plots' / f'{plot}.png').exists()
  ours = tokenizers.load(tmp_path / 'w')
  text = '12 green bottles should not fall. Ünïcode'
  ids = ours.encode(text).tolist()
  assert len(ids) < len(text)
  # The other formats hold the same.
  assert exchange.load_minbpe(tmp_path / 'w' / 'minbpe.model').encode(text).tolist() == ids
  assert Tokenizer.from_file(str(tmp_path / 'w' / 'huggingface' / 'tokenizer.json')).encode(text).ids == ids
  ranks = exchange.load_ranks(tmp_path / 'w' / 'ranks.tiktoken')
  theirs = tiktoken.Encoding('x', pat_str=ours.pattern.plain, mergeable_ranks=ranks, special_tokens={})
  assert theirs.encode(text) == ids

  assert 'is finished' in call(*TRAIN)[1]
  code, out, _ = call('--mode=show', '--text=green bottles\n<b>')
  assert code == 0
  assert 'bottles' in out
  assert '&lt;</span>' in (tmp_path / 'w' / 'tokens.html').read_text()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ([*TRAIN, '--config.vocab_size=200'], 'too small'),
    ([*TRAIN, '--config.vocab_size=100000'], 'no pair that occurs twice behind'),
    ([*TRAIN, '--config.pattern=('], 'does not compile'),
    ([*TRAIN, '--config.pattern=green'], 'leaves out'),
    ([*TRAIN, '--config.ties=coin'], 'ties'),
    (['--config.data.source=nowhere.txt'], "no source 'nowhere.txt'"),
    (['--mode=show'], 'holds no tokenizer'),
  ],
)
def test_bad_input_is_one_line(call, arguments, message):
  code, _, err = call(*arguments)
  assert code == 2
  assert message in err
  assert err.strip().count('\n') == 0


def test_a_killed_count_goes_on(call, tmp_path, monkeypatch):
  whole = call(*TRAIN, '--workdir=whole')
  assert whole[0] == 0
  monkeypatch.setattr(experiment, '_SAVE_EVERY', 1)
  monkeypatch.setattr('mlsd_jax.tokenizers.pieces._CHUNK', 5000)
  with monkeypatch.context() as broken:
    broken.setattr(experiment.BPETokenizer, 'from_pieces', lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      call(*TRAIN)
  assert (tmp_path / 'w' / 'pieces.parquet').exists()
  code, out, _ = call(*TRAIN)
  assert code == 0
  assert 'goes on behind' in out
  assert tokenizers.load(tmp_path / 'w').merges == tokenizers.load(tmp_path / 'whole').merges


def test_counts_of_a_text_that_has_changed_are_not_used(call, tmp_path, monkeypatch):
  with monkeypatch.context() as broken:
    broken.setattr(experiment.BPETokenizer, 'from_pieces', lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      call(*TRAIN)
  (tmp_path / 'song.txt').write_text('row, row, row your boat gently down the stream\n' * 50)
  code, out, err = call('--config.data.source=song.txt', '--config.vocab_size=280')
  assert code == 0, err
  assert 'goes on behind' not in out
  assert b'bottle' not in b''.join(tokenizers.load(tmp_path / 'w').ranks)


def test_analyse(call, tmp_path):
  call(*TRAIN)
  code, out, err = call('--mode=analyse', *TRAIN)
  assert code == 0, err
  for part in ('bpe-300: of 43 merged tokens', 'glitch candidates', 'o200k', 'dropout'):
    assert part in out
  assert (tmp_path / 'w' / 'analysis.txt').read_text() in out
  code, _, err = call('--mode=analyse', '--workdir=empty', TRAIN[0])
  assert code == 2
  assert 'empty' in err


@pytest.fixture
def offline(tmp_path, monkeypatch):
  """No file of OpenAI's encodings, and no way to one."""

  def get_encoding(name):
    raise ConnectionError

  monkeypatch.setenv('TIKTOKEN_CACHE_DIR', str(tmp_path / 'nothing'))
  monkeypatch.setattr(tiktoken, 'get_encoding', get_encoding)


def test_what_cannot_be_had_offline_is_told_in_one_line_and_where_it_is_missed(offline, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'song.txt').write_text('\n'.join(f'{i} green bottles, and if {i % 7} should fall' for i in range(900)))

  def missing(*arguments):
    assert experiment.main(['--workdir=w', *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ''
    return [line for line in out.splitlines() if line.startswith('without')]

  for mode in (['--mode=train'], ['--mode=analyse']):
    (line,) = missing(*mode, *TRAIN)
    assert line.startswith('without gpt2, cl100k_base, o200k_base, whose files are not on this machine')
  assert missing('--mode=train', *TRAIN) == []  # which is finished
  assert missing('--mode=show') == []
  (line,) = missing('--mode=show', "--config.compare=('gpt2',)")  # as the line above says
  assert 'vocab.bpe into' in line
  (line,) = missing('--mode=show', "--config.compare=('nowhere.json',)")
  assert 'nowhere.json' in line


def test_another_text_is_compared_anew(call, tmp_path, monkeypatch):
  folders = []

  def train_on(spec, source, settings, workdir, *, text_key):
    folders.append(workdir)
    return dict(vocab_size=1, num_params=1, steps=1, text_megabytes=1.0, val_loss=1.0, bits_per_byte=1.0)

  monkeypatch.setattr(tokenizer_comparison, 'train_on', train_on)
  row = '{"text": "%s", "line": "gently down the stream"}\n'
  (tmp_path / 'song.jsonl').write_text(row % 'green bottles')
  options = ('--mode=compare', '--config.data.source=song.jsonl', "--config.language_model.tokenizers=('bytes',)")
  assert call(*options)[0] == 0
  assert call(*options)[0] == 0
  assert folders[0] == folders[1]
  assert call(*options, '--config.data.text_key=line')[0] == 0
  (tmp_path / 'song.jsonl').write_text(row % 'row, row, row your boat')
  assert call(*options)[0] == 0
  assert len(set(folders)) == 3


def test_compare_by_bits_a_byte(call, tmp_path):
  lines = (tmp_path / 'song.txt').read_text().splitlines()
  (tmp_path / 'song.jsonl').write_text('\n'.join(json.dumps({'line': line}) for line in lines))
  small = dict(
    context_length=32, num_layers=1, num_heads=2, embed_dim=16, batch_size=8, teraflops=0.001, split='contiguous'
  )
  options = [f'--config.language_model.{name}={value}' for name, value in small.items()]
  options += ['--config.data.source=song.jsonl', '--config.data.text_key=line']
  code, out, err = call('--mode=compare', *options, "--config.language_model.tokenizers=('bytes', 'bpe:300')")
  assert code == 0, err
  rows = json.loads((tmp_path / 'w' / 'compare.json').read_text())
  assert {row['spec'] for row in rows} == {'bytes', 'bpe:300'}
  assert rows[0]['bits_per_byte'] < rows[1]['bits_per_byte'] < 8
  assert f'{rows[0]["bits_per_byte"]:.4f}' in out
