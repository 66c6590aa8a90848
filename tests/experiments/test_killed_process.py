"""kill -9 of one process of two, then what a launcher does: stop the other, start both again."""

import os
import pathlib
import socket
import subprocess
import sys

import chex
import pytest

from mlsd_jax.language_model import pretrained

OPTIONS = [
  *('--config.data.tokenizer=bytes', '--config.data.split=contiguous', '--config.train.steps=120'),
  *('--config.train.batch_size=4', '--config.train.log_every=2', '--config.train.eval_every=0'),
  *('--config.train.checkpoint_every=20', '--config.train.steps_per_dispatch=2', '--config.train.mesh.fsdp=4'),
  *('--config.train.mesh.data=1', '--config.train.optimizer.warmup_steps=5', '--config.train.dtype=float32'),
  *('--config.model.context_length=16', '--config.model.num_layers=1', '--config.model.embed_dim=16'),
  *('--config.model.num_heads=2', '--config.sample.max_new_tokens=2', '--config.sample.num_samples=1'),
]


@pytest.mark.slow
def test_a_run_goes_on_after_one_process_of_two_was_killed(tmp_path, start_process, within):
  text = tmp_path / 'song.txt'
  text.write_text('\n'.join(f'{i} green bottles' for i in range(2000)))

  def start(name: str) -> list[subprocess.Popen]:
    with socket.socket() as probe:
      probe.bind(('localhost', 0))
      port = probe.getsockname()[1]
    command = [sys.executable, '-u', '-m', 'experiments.gpt2', f'--workdir={tmp_path / name}', *OPTIONS]
    command += [f'--config.data.source={text}', f'--coordinator=localhost:{port}', '--num_processes=2']
    environment = {**os.environ, 'JAX_NUM_CPU_DEVICES': '2', 'JAX_PLATFORMS': 'cpu'}
    environment['JAX_DISABLE_MOST_OPTIMIZATIONS'] = '1'
    options = {'env': environment, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT, 'text': True}
    return [start_process([*command, f'--process_id={i}'], **options) for i in range(2)]

  def finish(name: str) -> str:
    processes = start(name)
    told = [each.communicate(timeout=within(120))[0] for each in processes]
    assert [each.returncode for each in processes] == [0, 0], told
    return told[0]

  finish('whole')
  first, second = start('killed')
  kept = pathlib.Path(tmp_path, 'killed', 'checkpoints')
  for line in first.stdout:
    # By its seal: a checkpoint that is still being written when a process dies is none.
    if line.startswith('step ') and any(kept.glob('[0-9]*.sha256.json')):
      break
  second.kill()
  second.communicate(timeout=within(60))
  assert second.returncode == -9
  first.terminate()  # it waits for the other, which cannot come: a launcher that stops all does not wait so long
  try:
    first.communicate(timeout=10)
  except subprocess.TimeoutExpired:
    first.kill()
    first.communicate(timeout=within(60))
  assert not (tmp_path / 'killed' / 'result.json').exists()

  assert 'resumed from step' in finish('killed')
  load = lambda name: pretrained.load_run(tmp_path / name)[0]
  chex.assert_trees_all_equal(load('killed'), load('whole'))
