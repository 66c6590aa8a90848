"""The GPT-2 experiment from text to samples, as a user calls it."""

import io
import json
import sys

import jax
import pytest

from experiments import gpt2
from mlsd_jax.language_model import chat_template, modern_folder
from mlsd_jax.models import modern_gpt
from mlsd_jax.tokenizers import BPETokenizer
from mlsd_jax.training import devices
from mlsd_jax.training.metrics import read_metrics

SMALL = [
  *('--config.train.steps=20', '--config.train.batch_size=8', '--config.train.steps_per_dispatch=5'),
  *('--config.train.log_every=5', '--config.train.eval_every=10', '--config.train.checkpoint_every=10'),
  *('--config.train.optimizer.warmup_steps=2', '--config.model.context_length=32', '--config.model.num_layers=2'),
  *('--config.model.embed_dim=32', '--config.model.num_heads=2'),
  *('--config.sample.max_new_tokens=20', '--config.sample.num_samples=2'),
]


@pytest.fixture
def text(tmp_path):
  lines = [f'{i} green bottles hanging on the wall, and if {i % 7} should fall.' for i in range(1500)]
  path = tmp_path / 'song.txt'
  path.write_text('\n'.join(lines))
  return path


@pytest.fixture
def call(tmp_path, monkeypatch, capsys, text):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)  # the test process has its devices already
  monkeypatch.chdir(tmp_path)
  source = [f'--config.data.source={text}', '--config.data.tokenizer=char', '--config.data.split=contiguous']

  def call(*arguments, small=True):
    code = gpt2.main([*(source + SMALL if small else []), *arguments])
    return code, *capsys.readouterr()

  return call


def test_a_model_with_a_chat_template_is_imported_and_talked_with(call, tmp_path, monkeypatch):
  """Lines in, answers out; with no template, one line says so."""
  folder = tmp_path / 'instruct'
  config = modern_gpt.ModernGPTConfig(
    vocab_size=259, context_length=128, num_layers=1, num_heads=2, embed_dim=16, num_kv_heads=1, tied_head=True
  )
  special = {'<|im_start|>': 256, '<|im_end|>': 257, '<|endoftext|>': 258}
  tokenizer = BPETokenizer([], special_tokens=special)
  modern_folder.save_modern(modern_gpt.init(jax.random.key(0), config), config, folder, tokenizer)
  code, out, error = call('--mode=import', f'--init_from=hf:{folder}', '--workdir=w', small=False)
  assert (code, 'parameters' in out) == (0, True)
  code, _, error = call('--mode=chat', '--workdir=w', small=False)
  assert code == 2
  assert 'w has no chat template' in error
  (folder / 'chat_template.jinja').write_text(chat_template.CHATML.source)
  call('--mode=import', f'--init_from=hf:{folder}', '--workdir=v', small=False)
  monkeypatch.setattr(sys, 'stdin', io.StringIO('Hello\n\nAgain\n/new\nOnce more\n/exit\nnever read\n'))
  options = ['--config.sample.max_new_tokens=9', '--config.sample.temperature=0']
  code, out, error = call('--mode=chat', '--workdir=v', *options, small=False)
  assert (code, error) == (0, '')
  assert out.count('\n') >= 3
  monkeypatch.setattr(sys, 'stdin', io.StringIO('x' * 200))
  code, _, error = call('--mode=chat', '--workdir=v', *options, small=False)
  assert code == 2
  assert 'the model a context of 128' in error


def test_from_text_to_samples(call, tmp_path):
  code, out, _ = call('--workdir=w')
  assert code == 0
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  assert {'val_loss', 'bigram_val_loss', 'bits_per_byte', 'num_params', 'tokens_per_second', 'train_seconds'} <= set(
    result
  )
  records = read_metrics(tmp_path / 'w')
  assert records[-1]['val_loss'] == pytest.approx(result['val_loss'])
  assert records[0]['loss'] > result['val_loss']
  assert f'{result["val_loss"]:.4f}' in out
  assert out.count('--- sample') == 2
  assert (tmp_path / 'w' / 'plots' / 'loss.png').read_bytes().startswith(b'\x89PNG')
  assert (tmp_path / 'w' / 'samples.txt').exists()

  code, out, _ = call('--workdir=w')
  assert code == 0
  assert 'is finished' in out

  code, out, _ = call('--workdir=w', '--mode=evaluate', '--config.evaluate.stride=16', small=False)
  assert code == 0
  scored = json.loads((tmp_path / 'w' / 'eval.json').read_text())
  assert scored['stride'] == 16
  assert scored['val_loss'] == pytest.approx(result['val_loss'], abs=0.2)

  options = [
    '--config.sample.prompt=if 3',
    '--config.sample.prompt=on',
    '--config.sample.temperature=0.0',
    '--config.sample.num_samples=2',
  ]
  options += ['--config.sample.max_new_tokens=20', '--config.train.dtype=float32']
  code, out, _ = call('--workdir=w', '--mode=sample', *options, small=False)
  assert code == 0
  assert '\nif 3' in out
  assert '\non' in out

  assert call('--workdir=w', '--mode=export', small=False)[0] == 0
  code, _, err = call('--workdir=again', '--mode=import', f'--init_from=hf:{tmp_path}/w/huggingface', small=False)
  assert code == 0, err
  assert call('--workdir=again', '--mode=sample', *options, small=False)[1] == out  # greedy: the same model

  tuned = ['--workdir=tuned', '--init_from=w', '--config.train.optimizer.learning_rate=1e-5']
  tuned += [source for source in SMALL if '.model.' not in source or 'context_length' in source]
  tuned += [f'--config.data.source={tmp_path}/song.txt', '--config.data.split=contiguous']
  code, _, err = call(*tuned, small=False)
  assert code == 0, err
  ran = json.loads((tmp_path / 'tuned' / 'config.json').read_text())
  assert (ran['model']['num_layers'], ran['model']['embed_dim'], ran['data']['tokenizer'][:5]) == (2, 32, 'char-')
  assert 'is finished' in call(*tuned, small=False)[1]  # though the command names neither
  code, _, err = call(*tuned, '--config.model.num_layers=6', small=False)
  assert (code, err) == (2, 'error: --config.model.num_layers has no effect: a start from w has its own\n')
  assert read_metrics(tmp_path / 'tuned')[0]['loss'] == pytest.approx(result['val_loss'], abs=0.3)


def test_where_an_older_checkpoint_is_used_results_and_exports_say_so(call, tmp_path):
  read = lambda name: json.loads((tmp_path / 'w' / name).read_text())
  assert call('--workdir=w')[0] == 0
  assert (read('result.json')['checkpoint_step'], 'damaged_checkpoints' in read('result.json')) == (20, False)
  assert call('--workdir=w', '--mode=export', small=False)[0] == 0
  newest = max((tmp_path / 'w' / 'checkpoints' / '20').rglob('*'), key=lambda path: path.stat().st_size)
  newest.write_bytes(newest.read_bytes()[:-1] + b'?')

  code, out, err = call('--workdir=w', '--mode=evaluate', small=False)
  assert code == 0, err
  assert 'checkpoint 10, as checkpoints/20 cannot be read' in out
  assert (read('eval.json')['checkpoint_step'], read('eval.json')['damaged_checkpoints']) == (10, ['checkpoints/20'])

  exported = (tmp_path / 'w' / 'huggingface' / 'model.safetensors').read_bytes()
  code, _, err = call('--workdir=w', '--mode=export', small=False)
  assert code == 2
  assert err.splitlines()[-1].startswith(
    'error: w/huggingface is of checkpoint 20, later than the one that can be read'
  )
  assert (tmp_path / 'w' / 'huggingface' / 'model.safetensors').read_bytes() == exported
  code, out, _ = call('--workdir=w', '--mode=export', '--overwrite', small=False)
  assert code == 0
  assert '(checkpoint 10, as checkpoints/20 cannot be read)' in out
  assert (tmp_path / 'w' / 'huggingface' / 'model.safetensors').read_bytes() != exported


def test_a_config_or_result_that_was_edited_by_hand_is_told_apart_from_a_damaged_one(call, tmp_path):
  assert call('--workdir=w')[0] == 0
  for name in ('config.json', 'result.json'):
    path = tmp_path / 'w' / name
    text = path.read_text()
    for content, said in ((text.replace(': 20', ': 21', 1), 'was edited by hand'), (text[:-9], 'damaged')):
      assert content != text
      path.write_text(content)
      code, _, err = call('--workdir=w')
      assert code == 2
      assert f'w/{name}' in err
      assert said in err
      assert err.count('\n') == 1
    path.write_text(text)
  assert call('--workdir=w')[0] == 0


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--config.train.batch_size=9'], 'batch_size 9 is not divisible'),
    (['--config.train.mesh.data=3'], 'does not fit 8 devices'),
    (['--config.model.num_heads=5'], 'not divisible by num_heads 5'),
    (['--config.model.attention=magic'], "attention='magic'"),
    (['--config.model.context_length=100000'], 'too few for a window of 100000'),
    (['--config.train.step=pmap', '--config.model.attention=cudnn'], 'step=pmap does not go with'),
    (['--config.train.dtype=float8'], 'float8'),
    (['--config.train.optimizer.name=magic'], 'magic'),
    (['--config.data.source=/nowhere'], "no source '/nowhere'"),
    (['--config.data.tokenizer=klingon'], "no tokenizer 'klingon'"),
    (['--config.sample.prompt=if', '--config.sample.prompt=Ω'], "sample.prompt 'Ω': character 'Ω'"),
  ],
)
def test_bad_input_is_one_line(call, tmp_path, arguments, message):
  code, _, err = call('--workdir=w', *arguments)
  assert code == 2
  assert message in err
  assert err.count('\n') == 1
  assert not (tmp_path / 'w' / 'checkpoints').exists()


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['--init_from=hf:/nowhere'], '/nowhere'),
    (['--init_from=/nowhere'], 'no whole checkpoint'),
    (['--init_from=/nowhere', '--config.init_from=/other'], 'are both given'),
    (['--mode=sample', '--workdir=/nowhere'], 'no whole checkpoint'),
    (['--mode=import'], 'needs --init_from'),
  ],
)
def test_a_start_from_nothing_that_is_there_is_one_line(call, arguments, message):
  code, _, err = call('--workdir=w', *arguments, small=False)
  assert (code, err.count('\n')) == (2, 1)
  assert message in err


def test_a_run_does_not_go_on_with_another_tokenizer(call, tmp_path, text, monkeypatch):
  def killed(*_, **__):
    (tmp_path / 'w' / 'metrics.jsonl').write_text('')  # without which nothing was made, and the claim is taken back
    raise KeyboardInterrupt

  monkeypatch.setattr(gpt2, 'fit', killed)
  assert call('--workdir=w')[0] == 130
  kept = (tmp_path / 'w' / 'tokenizer.json').read_bytes()
  assert call('--workdir=w')[0] == 130
  text.write_text(text.read_text() + 'Ω')
  code, _, err = call('--workdir=w')
  assert code == 2
  assert 'has changed since the run began' in err
  assert err.count('\n') == 1
  assert (tmp_path / 'w' / 'tokenizer.json').read_bytes() == kept


@pytest.mark.parametrize(('content', 'message'), [(b'', 'empty'), (b'abc\xff\xfe' * 99, 'UTF-8')])
def test_unreadable_text_is_one_line(call, text, content, message):
  text.write_bytes(content)
  code, _, err = call('--workdir=w')
  assert code == 2
  assert message in err
