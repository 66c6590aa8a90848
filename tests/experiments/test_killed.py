"""kill -9 at random moments of a GPT-2 run, and SIGTERM: it ends as an undisturbed run does, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import chex
import pytest

from mlsd_jax.language_model import pretrained
from mlsd_jax.training.metrics import read_metrics

KILLS = int(os.environ.get('MLSD_TEST_KILLS', '4'))  # each is a start of some ten seconds; 20 before a release
STEPS = 300 * (KILLS + 1)
OPTIONS = [
  *('--config.data.tokenizer=bytes', '--config.data.split=contiguous', f'--config.train.steps={STEPS}'),
  *('--config.train.batch_size=4', '--config.train.log_every=10', '--config.train.eval_every=200'),
  *('--config.train.checkpoint_every=70', '--config.train.rng=rbg', '--config.train.optimizer.warmup_steps=20'),
  *('--config.model.context_length=32', '--config.model.num_layers=2', '--config.model.embed_dim=32'),
  *('--config.model.num_heads=2', '--config.model.dropout=0.1'),
  *('--config.sample.max_new_tokens=20', '--config.sample.num_samples=1'),
]


@pytest.mark.slow
def test_killed_many_times_and_asked_to_stop(tmp_path):
  text = tmp_path / 'song.txt'
  text.write_text('\n'.join(f'{i} green bottles, and if {i % 7} should fall' for i in range(3000)))

  def start(name: str) -> subprocess.Popen:
    command = [sys.executable, '-m', 'experiments.gpt2', f'--workdir={tmp_path / name}', f'--config.data.source={text}']
    environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '1'}
    return subprocess.Popen(
      [*command, *OPTIONS], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

  def finish(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out

  def wait_for_steps(process: subprocess.Popen) -> None:
    """Told in lines of ten steps, not in seconds: after 150 steps a checkpoint is there, however slow the machine."""
    lines = (line for line in process.stdout if line.startswith('step '))
    for _ in range(moments.randint(1, 25)):
      next(lines)

  finish(start('whole'))
  moments = random.Random(0)
  for kill in range(KILLS):
    process = start('killed')
    if kill % 5:  # every fifth falls anywhere in the start, the others while it trains
      wait_for_steps(process)
      time.sleep(moments.uniform(0.0, 0.05))
    else:
      time.sleep(moments.uniform(0.0, 4.0))
    process.kill()
    process.wait()
    process.stdout.close()
    assert process.returncode == -9, f'finished before kill {kill + 1}'
  process = start('killed')
  wait_for_steps(process)
  process.send_signal(signal.SIGTERM)
  assert 'stop requested' in finish(process)
  assert not (tmp_path / 'killed' / 'result.json').exists()
  assert 'resumed from step' in finish(start('killed'))

  load = lambda name: pretrained.load_run(tmp_path / name)[0]
  chex.assert_trees_all_equal(load('killed'), load('whole'))
  values = lambda name: [
    {key: value for key, value in record.items() if 'second' not in key and key != 'time'}
    for record in read_metrics(tmp_path / name)
  ]
  assert values('killed') == values('whole')
  result = lambda name: json.loads((tmp_path / name / 'result.json').read_text())
  assert result('killed')['val_loss'] == result('whole')['val_loss']
  assert (tmp_path / 'killed' / 'samples.txt').read_text() == (tmp_path / 'whole' / 'samples.txt').read_text()
