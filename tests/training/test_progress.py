import io
import math

import pytest
from rich.console import Console

from mlsd_jax.training import distributed
from mlsd_jax.training.progress import Progress, Throughput


class FakeClock:
  def __init__(self):
    self.now = 100.0

  def __call__(self):
    return self.now


def test_throughput_leaves_out_compiling_and_pauses():
  clock = FakeClock()
  throughput = Throughput(clock=clock)
  clock.now += 60  # compiling the first step
  throughput.mark(10)
  assert throughput.steps_per_second is None
  clock.now += 2
  throughput.mark(20)
  assert throughput.steps_per_second == 5
  throughput.pause()
  clock.now += 1000  # an evaluation
  throughput.mark(30)
  clock.now += 2
  throughput.mark(40)
  assert throughput.steps_per_second == 5


def test_throughput_is_of_the_recent_past():
  clock = FakeClock()
  throughput = Throughput(window_seconds=10, clock=clock)
  throughput.mark(0)
  for step in range(1, 6):
    clock.now += 4
    throughput.mark(step)
  assert throughput.steps_per_second == pytest.approx(1 / 4)
  for step in range(6, 30):
    clock.now += 0.5
    throughput.mark(step)
  assert throughput.steps_per_second == pytest.approx(1 / 0.5)


@pytest.mark.parametrize('window', [10.0, math.inf])
def test_a_mark_costs_the_same_however_long_the_run_is(window):
  clock = FakeClock()
  throughput = Throughput(window, clock)
  for step in range(10_000):
    clock.now += 1 if step < 5000 else 3
    throughput.mark(step)
  assert throughput.steps_per_second == pytest.approx(9999 / (4999 + 15_000) if window == math.inf else 1 / 3)
  assert len(throughput._intervals) <= 10  # that are kept, and would be summed


def test_a_step_marked_twice_counts_once():
  clock = FakeClock()
  throughput = Throughput(clock=clock)
  throughput.mark(0)
  clock.now += 1
  throughput.mark(10)
  clock.now += 1
  throughput.mark(10)
  clock.now += 1
  throughput.mark(20)
  assert throughput.steps_per_second == pytest.approx(20 / 3)


def shown(**options):
  """A run of three updates on a console of that kind, and what it printed."""
  file = io.StringIO()
  clock = FakeClock()
  with Progress(200, item_name='tokens', console=Console(file=file, width=140, **options)) as progress:
    progress.throughput = Throughput(clock=clock)
    progress.update(10, {'loss': 3.25})
    clock.now += 5
    progress.update(20, {'loss': 3.0, 'tokens_per_second': 123456.0, 'mfu': 0.412})
    progress.print('a [bold]line[/bold] of its own')
    progress.update(20, {'val_loss': 3.5})
  return file.getvalue()


def test_plain_lines_where_there_is_no_terminal():
  first, second, own, third = shown(force_terminal=False).splitlines()
  assert first.startswith('step 10/200  loss 3.2500')
  assert 'left' not in first
  assert second.startswith('step 20/200  loss 3.0000  123k tokens/s  MFU 41.2%')
  assert second.endswith('1:30 left')  # 180 steps at 2 a second
  assert own == 'a [bold]line[/bold] of its own'
  assert third.startswith('step 20/200  val loss 3.5000')


def test_a_bar_on_a_terminal():
  text = shown(force_terminal=True)
  last = text.split('\r')[-1]
  for part in ('20/200', 'loss 3.0000', 'val loss 3.5000', '123k tokens/s', 'MFU 41.2%', 'elapsed', '1:30 left'):
    assert part in last, part
  assert 'a [bold]line[/bold] of its own' in text


def test_long_lines_are_not_broken():
  file = io.StringIO()
  with Progress(10, console=Console(file=file, width=40, force_terminal=False)) as progress:
    progress.print('x' * 300)
  assert file.getvalue() == 'x' * 300 + '\n'


def test_items_a_second_by_its_own_reckoning():
  clock = FakeClock()
  progress = Progress(100, item_name='tokens', items_per_step=1024, console=Console(file=io.StringIO()))
  progress.throughput = Throughput(clock=clock)
  with progress:
    progress.update(10, {})
    assert progress.items_per_second is None
    clock.now += 5
    progress.update(20, {})
    assert progress.items_per_second == 2048
    with progress.paused():
      clock.now += 100
    progress.update(30, {})
    assert progress.items_per_second == 2048


def test_other_processes_print_nothing(monkeypatch, capsys):
  monkeypatch.setattr(distributed, 'is_main', lambda: False)
  with Progress(100) as progress:
    progress.update(10, {'loss': 1.0})
    progress.print('hello')
  assert capsys.readouterr().out == ''


def test_the_default_console_is_standard_output(capsys):
  with Progress(100, 50) as progress:
    progress.update(60, {'loss': 1.0})
  assert capsys.readouterr().out.startswith('step 60/100  loss 1.0000')
