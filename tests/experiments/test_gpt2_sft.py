"""Conversations taught to a model, whole or by a LoRA, as a user calls it."""

import json
import pathlib
import re
import shutil

import jax
import numpy as np
import pytest

from experiments import gpt2
from mlsd_jax.language_model import modern_folder, pretrained
from mlsd_jax.models import modern_gpt
from mlsd_jax.tokenizers import BPETokenizer
from mlsd_jax.training import devices
from mlsd_jax.training.metrics import read_metrics

MODEL = modern_gpt.ModernGPTConfig(
  vocab_size=257, context_length=96, num_layers=1, num_heads=2, embed_dim=16, num_kv_heads=1, tied_head=True
)
SMALL = [
  *('--config=configs/gpt2/sft.py', '--config.train.steps=6', '--config.train.batch_size=8'),
  *('--config.train.log_every=1', '--config.train.eval_every=3', '--config.train.checkpoint_every=3'),
  *('--config.train.dtype=float32', '--config.train.optimizer.learning_rate=0.01', '--config.sample.max_new_tokens=4'),
  *('--config.train.optimizer.warmup_steps=0', '--config.data.val_fraction=0.3', '--config.model.context_length=96'),
]
CHATML = '--config.chat.template=chatml'


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  save = lambda name, key: modern_folder.save_modern(
    jax.jit(modern_gpt.init, static_argnums=1)(jax.random.key(key), MODEL), MODEL, tmp_path / name, BPETokenizer([])
  )
  save('base', 0)
  save('other', 1)
  talks = [
    [{'role': 'user', 'content': f'{i} and {i}?'}, {'role': 'assistant', 'content': str(2 * i)}] for i in range(60)
  ]
  pathlib.Path('talks.jsonl').write_text(''.join(json.dumps({'messages': talk}) + '\n' for talk in talks))

  def call(*arguments, small=True):
    source = [*SMALL, '--config.data.source=talks.jsonl', '--init_from=hf:base', CHATML] if small else []
    code = gpt2.main([*source, *arguments])
    return code, *capsys.readouterr()

  return call


def test_conversations_are_taught_scored_and_go_on_where_they_were_stopped(call, tmp_path):
  code, out, err = call('--workdir=w', '--config.sample.prompt=3 and 3?')
  assert code == 0, err
  assert 'training and ' in out
  assert '> 3 and 3?' in out
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  losses = [record['loss'] for record in read_metrics(tmp_path / 'w') if 'loss' in record]
  assert losses[-1] < losses[0]
  assert pretrained.load_run(tmp_path / 'w').config.vocab_size == 259  # <|im_start|>, <|im_end|>

  code, out, err = call('--mode=evaluate', '--workdir=w', '--config.evaluate.answers=5', small=False)
  assert code == 0, err
  scored = json.loads((tmp_path / 'w' / 'eval.json').read_text())
  assert scored['val_loss'] == pytest.approx(result['val_loss'], rel=1e-5)
  assert (scored['answers'], 0 <= scored['exact'] <= 1) == (5, True)

  # What was stopped behind step 3 ends as what was not.
  whole = pretrained.load_run(tmp_path / 'w')
  shutil.rmtree(tmp_path / 'w' / 'checkpoints' / '6')
  (tmp_path / 'w' / 'result.json').unlink()
  code, out, err = call('--workdir=w', '--config.sample.prompt=3 and 3?')
  assert code == 0, err
  assert 'resumed from step 3' in out
  again = pretrained.load_run(tmp_path / 'w')
  assert jax.tree.all(jax.tree.map(np.array_equal, whole.params, again.params))

  (tmp_path / 'talks.jsonl').write_text((tmp_path / 'talks.jsonl').read_text().replace('"20"', '"21"'))
  (tmp_path / 'w' / 'result.json').unlink()
  code, _, err = call('--workdir=w')
  assert (code, err.count('\n')) == (2, 1)
  assert 'begun with other data (conversations' in err


def test_a_lora_is_merged_where_it_is_used_and_knows_its_own_model(call, tmp_path):
  code, out, err = call('--workdir=w', '--config.lora.rank=2', '--config.lora.alpha=4')
  assert code == 0, err
  share = re.search(r'LoRA of rank 2: ([\d,]+) parameters are trained', out)
  assert share is not None
  whole = pretrained.load_run(tmp_path / 'w').params
  kept = {path.name for path in (tmp_path / 'w' / 'checkpoints').iterdir()}
  assert '6' in kept
  assert call('--mode=export', '--workdir=w', small=False)[0] == 0
  exported, model, _ = pretrained.load(f'hf:{tmp_path}/w/huggingface')
  unpadded = lambda leaf: np.asarray(leaf)[: model.vocab_size]  # of tables; other arrays are shorter
  for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(exported), strict=True):
    np.testing.assert_allclose(unpadded(a), b, atol=1e-6)

  (tmp_path / 'base').rename(tmp_path / 'moved')
  (tmp_path / 'other').rename(tmp_path / 'base')
  code, _, err = call('--mode=export', '--workdir=w', small=False)
  assert (code, err.count('\n')) == (2, 1)
  assert 'is not the model that the LoRA was trained on' in err


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    (['--config.chat.template='], 'hf:base has no chat template: name one'),
    (['--config.chat.template=nowhere.jinja'], 'nowhere.jinja'),
    (['--config.model.context_length=20'], 'talks.jsonl, line 1: the conversation has'),
    (['--config.data.source=nowhere.jsonl'], 'nowhere.jsonl'),
    (['--config.data.text_key=words'], 'data.text_key has no effect: conversations are read whole'),
    (['--config.lora.alpha=3'], 'lora.alpha has no effect: --config.lora.rank=0'),
    (['--config.lora.rank=2', "--config.lora.matrices=('qkv',)"], "names 'qkv'"),
    (['--config.lora.rank=4096'], 'lora.rank=4096 is more than the rank of any matrix here'),
    (['--config.lora.rank=2', '--config.train.optimizer.name=muon'], 'muon'),
    (['--config.chat.tools=("oven",)'], "names 'oven'"),
  ],
)
def test_bad_input_is_one_line(call, tmp_path, arguments, said):
  given = {argument.split('=')[0] for argument in arguments}
  code, _, err = call('--workdir=w', *arguments)
  assert (code, err.count('\n')) == (2, 1), given
  assert said in err
  assert not (tmp_path / 'w' / 'config.json').exists()  # nothing was claimed
