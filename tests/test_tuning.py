"""Choices by the machine: measured once, remembered, set by hand."""

import pytest

from mlsd_jax import tuning
from mlsd_jax.errors import UserError

CANDIDATES = (4, 8, 16)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'cache'))
  monkeypatch.delenv(tuning.VARIABLE, raising=False)
  monkeypatch.setattr(tuning, 'NAMES', ('rows', 'others'))
  return tmp_path / 'cache' / 'choices'


class Clock:
  """Seconds by candidate, and how often they were asked for."""

  def __init__(self, *seconds):
    self.seconds, self.asked = dict(zip(CANDIDATES, seconds, strict=True)), 0

  def __call__(self, candidate):
    self.asked += 1
    return self.seconds[candidate]


def choose(clock, **options):
  return tuning.choose('rows', CANDIDATES, clock, **options)


def test_the_fastest_is_chosen_told_and_remembered(cache):
  lines, clock = [], Clock(3.0, 1.0, 2.0)
  assert choose(clock, say=lines.append) == 8
  (line,) = lines
  assert 'rows: 8 on this machine' in line
  assert str(cache) in line
  other = Clock(1.0, 2.0, 3.0)
  assert choose(other, say=lines.append) == 8
  assert (other.asked, len(lines)) == (0, 1)


@pytest.mark.parametrize('seconds', [(1.0, 0.97, 2.0), (1.0, 1.0, 1.0)])
def test_the_first_stands_where_none_is_clearly_faster(seconds):
  assert choose(Clock(*seconds)) == 4


@pytest.mark.parametrize('damage', ['', '{}', '{"chosen": 5}', 'no JSON', '[1]'])
def test_a_damaged_choice_is_measured_anew(cache, damage):
  assert choose(Clock(3.0, 1.0, 2.0)) == 8
  (path,) = cache.iterdir()
  path.write_text(damage)
  clock = Clock(3.0, 2.0, 1.0)
  assert choose(clock) == 16
  assert clock.asked
  assert choose(Clock(1.0, 2.0, 3.0)) == 16


def test_another_machine_or_size_is_measured_for_itself(monkeypatch):
  assert choose(Clock(3.0, 1.0, 2.0), of={'width': 64}) == 8
  assert choose(Clock(3.0, 2.0, 1.0), of={'width': 128}) == 16
  here = tuning.describe_machine()
  monkeypatch.setattr(tuning, 'describe_machine', lambda: here | {'processor': 'another'})
  assert choose(Clock(1.0, 2.0, 3.0), of={'width': 64}) == 4


def test_by_hand_goes_first(monkeypatch):
  clock = Clock(3.0, 1.0, 2.0)
  monkeypatch.setenv(tuning.VARIABLE, 'others=1, rows=16')
  assert choose(clock) == 16
  assert not clock.asked


@pytest.mark.parametrize('given', ['rows=5', 'rows', 'rows=many', 'row=8', 'rows=8,row=8', 'rows=²', '=4'])
def test_a_bad_value_by_hand_is_refused_in_one_line(monkeypatch, given):
  monkeypatch.setenv(tuning.VARIABLE, given)
  with pytest.raises(UserError) as error:
    choose(Clock(1.0, 1.0, 1.0))
  assert '\n' not in str(error.value)


def test_without_a_cache_folder_each_start_measures(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('MLSD_CACHE_DIR', str(tmp_path / 'file'))
  lines = []
  assert choose(Clock(3.0, 1.0, 2.0), say=lines.append) == 8
  assert choose(Clock(3.0, 2.0, 1.0), say=lines.append) == 16
  assert len(lines) == 2


def test_a_resumed_run_keeps_what_it_began_with(tmp_path, monkeypatch):
  lines = []
  with tuning.keep_in(tmp_path / 'run'):
    assert choose(Clock(3.0, 1.0, 2.0), say=lines.append) == 8
    assert choose(Clock(3.0, 2.0, 1.0), of={'width': 2}, say=lines.append) == 16
  here = tuning.describe_machine()
  monkeypatch.setattr(tuning, 'describe_machine', lambda: here | {'processor': 'another'})
  lines.clear()
  with tuning.keep_in(tmp_path / 'run'):
    assert choose(Clock(3.0, 2.0, 1.0), say=lines.append) == 8
    assert lines[-1] == 'rows: 8, with which the run began; this machine would choose 16'
    assert choose(Clock(3.0, 2.0, 1.0), of={'width': 2}, say=lines.append) == 16
    assert len(lines) == 3  # two measurements, one difference
  assert choose(Clock(3.0, 2.0, 1.0)) == 16  # outside the run the machine decides


def test_what_a_run_began_with_by_hand_is_kept_and_cannot_be_changed_by_hand(tmp_path, monkeypatch):
  monkeypatch.setenv(tuning.VARIABLE, 'rows=16')
  with tuning.keep_in(tmp_path):
    assert choose(Clock(3.0, 1.0, 2.0)) == 16
  monkeypatch.delenv(tuning.VARIABLE)
  with tuning.keep_in(tmp_path):
    assert choose(Clock(3.0, 1.0, 2.0)) == 16
  monkeypatch.setenv(tuning.VARIABLE, 'rows=4')
  with tuning.keep_in(tmp_path), pytest.raises(UserError, match='rows=4, and the run began with 16'):
    choose(Clock(3.0, 1.0, 2.0))


def test_a_run_whose_choices_are_damaged_or_no_longer_known_is_refused(tmp_path):
  with tuning.keep_in(tmp_path):
    choose(Clock(3.0, 1.0, 2.0))
    with pytest.raises(UserError, match='has rows=8, which is not one of 4, 16'):
      tuning.choose('rows', (4, 16), lambda candidate: 1.0)
    (tmp_path / tuning.FILE).write_text('{')
    with pytest.raises(UserError, match='damaged'):
      choose(Clock(3.0, 1.0, 2.0))


@pytest.mark.parametrize('is_empty', [False, True])
def test_a_resumed_run_that_lost_its_choices_is_told_that_they_are_made_anew(tmp_path, is_empty):
  lines = []
  with tuning.keep_in(tmp_path):
    assert choose(Clock(3.0, 1.0, 2.0), say=lines.append) == 8
  (tmp_path / tuning.FILE).unlink()
  if is_empty:
    (tmp_path / tuning.FILE).write_text('{"choices": []}')
  lines.clear()
  with tuning.keep_in(tmp_path, is_resumed=True):
    assert choose(Clock(1.0, 2.0, 3.0), say=lines.append) == 8
    (line,) = lines
    assert str(tmp_path / tuning.FILE) in line
    assert 'choice of rows with which the run began: it is made anew, 8' in line
    assert choose(Clock(1.0, 2.0, 3.0), say=lines.append) == 8  # which is kept from now on
  assert len(lines) == 1


@pytest.mark.parametrize('given', ['row=8', 'rows', 'rows=8,others=few'])
def test_what_is_set_by_hand_is_looked_at_where_nothing_is_chosen(monkeypatch, given):
  tuning.check_by_hand()
  monkeypatch.setenv(tuning.VARIABLE, 'rows=8, others=1')
  tuning.check_by_hand()
  monkeypatch.setenv(tuning.VARIABLE, given)
  with pytest.raises(UserError, match=tuning.VARIABLE):
    tuning.check_by_hand()
