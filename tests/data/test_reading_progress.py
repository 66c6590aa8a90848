import io
import sys

import pytest

from mlsd_jax.data import reading_progress


class Terminal(io.StringIO):
  def isatty(self) -> bool:
    return True


@pytest.mark.parametrize('total', [None, 4_000_000])
def test_a_terminal_gets_a_bar(total: int | None, monkeypatch):
  terminal = Terminal()
  monkeypatch.setattr(sys, 'stderr', terminal)
  with reading_progress.progress_bar('reading novels', total) as advance:
    advance(1_000_000)
  assert 'reading novels' in terminal.getvalue()


def test_elsewhere_lines_come_at_intervals_with_what_was_done_before(capsys, monkeypatch):
  seconds = iter([0, 29, 31, 31, 60, 62, 62])
  monkeypatch.setattr(reading_progress.time, 'monotonic', lambda: next(seconds))
  with reading_progress.progress_bar('reading novels', 9_000_000, done=2_000_000) as advance:
    for _ in range(4):
      advance(1_000_000)
  lines = ['reading novels: 4 of 9 MB', 'reading novels: 6 of 9 MB']
  assert capsys.readouterr().err.splitlines() == lines
