import json
import os
import signal
import subprocess
import sys

import pytest

from mlsd_jax.training.preemption import Preemption


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_request_and_handlers_come_back(number):
  before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  with Preemption() as preemption:
    assert not preemption.requested(1)
    os.kill(os.getpid(), number)
    assert preemption.requested(2)
    assert preemption.requested(3)
  assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
  with Preemption() as preemption:
    assert not preemption.requested(1)


def test_schedulers_may_repeat_sigterm():
  with Preemption() as preemption:
    for _ in range(3):
      os.kill(os.getpid(), signal.SIGTERM)
    assert preemption.requested(1)


TWICE = """
import time
from mlsd_jax.training.preemption import Preemption
with Preemption() as preemption:
  print('ready', flush=True)
  while not preemption.requested(0):
    time.sleep(0.01)
  print('requested', flush=True)
  time.sleep(60)
"""


def test_a_second_ctrl_c_kills(start_process, within):
  process = start_process([sys.executable, '-c', TWICE], stdout=subprocess.PIPE, text=True)
  assert process.stdout.readline() == 'ready\n'
  process.send_signal(signal.SIGINT)
  assert process.stdout.readline() == 'requested\n'
  process.send_signal(signal.SIGINT)
  assert process.wait(within(30)) == -signal.SIGINT


TWO = """
import json, os, signal, time
from mlsd_jax.training.preemption import Preemption

answers = []
with Preemption() as preemption:
  for step in range(0, 100_000, 10):  # ten steps a dispatch
    if index == arguments[0] and step == 200:
      os.kill(os.getpid(), getattr(signal, arguments[1]))
    time.sleep(0.001 if index == '0' else 0.003)
    if step % 100 == 0:
      distributed.barrier('collective')  # a step's collectives keep processes near each other, not in lockstep
    if preemption.requested(step):
      answers.append(step)
      break
print(json.dumps(answers))
"""


@pytest.mark.slow
@pytest.mark.parametrize(('receiver', 'name'), [(0, 'SIGTERM'), (1, 'SIGINT')])
def test_a_signal_to_one_process_stops_all_after_the_same_step(run_processes, receiver, name):
  first, second = (json.loads(output) for output in run_processes(TWO, receiver, name))
  assert len(first) == 1
  assert first[0] > 200
  assert first == second
