"""--mode=quiz under a terminal and from a pipe."""

import io
import os
import pty
import select
import subprocess
import sys
import time

import pytest

from experiments import estimate
from mlsd_jax import sealed
from mlsd_jax.estimates import quiz

SEED = ('--config.seed=4', '--config.questions=2')


def test_under_a_terminal(tmp_path, within):
  first, second = quiz.questions(2, 4)
  ours, theirs = pty.openpty()
  # The child takes the terminal as its own, else Ctrl-C reaches no one; itself, as JAX's threads forbid forks here.
  begin = 'import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])'
  command = [sys.executable, '-m', 'experiments.estimate', '--mode=quiz', f'--workdir={tmp_path / "w"}', *SEED]
  process = subprocess.Popen(
    [sys.executable, '-c', begin, *command], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
  )
  os.close(theirs)
  shown, until = '', time.monotonic() + within(60)
  answers = [b'nonsense\n', f'{first.shown.replace("a second", "/s")}\n'.encode(), b'\x03']

  def read_to(text):
    nonlocal shown
    while text not in shown:
      assert time.monotonic() < until, shown
      if select.select([ours], [], [], 0.2)[0]:
        try:
          shown += os.read(ours, 4096).decode()
        except OSError:  # the terminal has closed
          assert text in shown
    before, shown = shown.partition(text)[0], shown.partition(text)[2]
    return before

  assert first.topic in read_to('> ')
  os.write(ours, answers[0])
  assert "'nonsense' is no number" in read_to('> ').replace('\r\n', ' ')
  os.write(ours, answers[1])
  before = read_to('> ')
  assert 'right: ' in before
  assert first.working[0] in before
  assert second.topic in before
  os.write(ours, answers[2])
  read_to('interrupted')
  assert process.wait(timeout=within(20)) == 130
  os.close(ours)
  score = sealed.read_json(tmp_path / 'w' / 'score.json')
  assert (score['asked'], score['right']) == (1, 1)


@pytest.mark.parametrize('times', [1, 2])
def test_from_a_pipe(tmp_path, monkeypatch, capsys, times):
  monkeypatch.chdir(tmp_path)
  first, second = quiz.questions(2, 4)
  for _ in range(times):
    lines = f'5 parsecs\n\n{first.shown.replace("a second", "/s")}\n1e-9 {second.shown.split()[-1]}\n'
    monkeypatch.setattr(sys, 'stdin', io.StringIO(lines))
    assert estimate.main(['--mode=quiz', *SEED]) == 0
    out = capsys.readouterr().out
    assert 'which is no unit that is known' in out
    assert f'no: {second.shown}' in out
    assert '> ' not in out
  assert f'1 of 2 right; all in all {times} of {2 * times}' in out
  assert not list(tmp_path.rglob('*.tmp*'))


def test_the_score_is_told_by_topic(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  flags = ('--config.topics=judge,load', '--config.questions=3', '--config.seed=2')
  asked = quiz.questions(3, 2, ('judge', 'load'))
  wrong = next(question for question in asked if question.topic == 'judge')
  say = lambda question: '1' if question is wrong else question.shown.replace('a second', '/s')
  for times in (1, 2):
    monkeypatch.setattr(sys, 'stdin', io.StringIO('\n'.join(map(say, asked))))
    assert estimate.main(['--mode=quiz', *flags]) == 0
    out = capsys.readouterr().out
    assert f'judge: 0 of 1 right; all in all 0 of {times}' in out
    assert f'load: 2 of 2 right; all in all {2 * times} of {2 * times}' in out
    assert f'2 of 3 right; all in all {2 * times} of {3 * times}' in out


def test_help_lists_the_topics(capsys):
  assert estimate.main(['--mode=quiz', '--help']) == 0
  out = capsys.readouterr().out
  assert all(topic in out for topic in quiz.TOPICS)


@pytest.mark.parametrize(
  ('flag', 'said'),
  [
    ('--config.topics=("sports",)', "--config.topics names 'sports'; there are cache"),
    ('--config.tolerance=1.5', 'must be above 0 and at most 1'),
    ('--config.questions=0', 'must be at least 1'),
    ('--qps=5', "Unknown command line flag 'qps'"),
  ],
)
def test_what_cannot_be_is_one_line(tmp_path, monkeypatch, capsys, flag, said):
  monkeypatch.chdir(tmp_path)
  assert estimate.main(['--mode=quiz', flag]) == 2
  out, err = capsys.readouterr()
  assert (out, err.count('\n')) == ('', 1)
  assert said in err
  assert list(tmp_path.iterdir()) == []
