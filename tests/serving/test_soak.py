"""The soak of benchmarks/serving_soak.py in short: killed, replaced and stopped under load, every answer right."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_every_answer_is_right_through_a_kill_and_replacements(tmp_path, within):
  command = [sys.executable, '-m', 'benchmarks.serving_soak', f'--folder={tmp_path}', '--minutes=0.1', '--clients=4']
  done = subprocess.run(
    [*command, '--systems=gpt2,tokenizer'], cwd=ROOT, capture_output=True, text=True, timeout=within(120), check=False
  )
  assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
  assert 'killed 1 time, replaced 2 times' in done.stdout
  lines = [line.split() for line in done.stdout.splitlines() if line.startswith(('text', 'broken'))]
  rows = {name: counts[:4] for name, *counts in lines}
  assert set(rows) == {'text', 'broken'}
  for right, wrong, cut_off, no_server in rows.values():
    assert int(right) > 0
    assert (wrong, cut_off) == ('0', '0')
    assert int(no_server) <= 4  # a client each may meet the killed server
