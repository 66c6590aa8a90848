"""What a corpus, a model or a user wrote is shown as it is: no markup, no control character that is obeyed."""

import io
import sys
import types
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from experiments import contract, retrieval
from mlsd_jax.algorithms import verdict_table
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.errors import UserError
from mlsd_jax.printable import as_text, printable
from mlsd_jax.retrieval import terminal
from mlsd_jax.retrieval.answers import Answer, Citation
from mlsd_jax.retrieval.chunking import Chunk
from mlsd_jax.retrieval.pages import MARKDOWN, Page
from mlsd_jax.retrieval.search import Found, Hit
from mlsd_jax.tokenizers import token_page
from mlsd_jax.tokenizers.byte_level import ByteTokenizer
from mlsd_jax.training.progress import Progress

HOSTILE = '[red]x[/red] [/etc] [link=file:///]y \x1b[31m\x1b]0;title\x07 \0 \x7f \x9b2J a\rb \u202ex :bomb: \ud800'
ANYTHING = st.text(st.characters(categories=('L', 'N', 'P', 'S', 'Z', 'Cc', 'Cf', 'Cs')) | st.sampled_from('[]/\x1b\n'))


def assert_harmless(shown):
  assert not [sign for sign in shown if unicodedata.category(sign) in ('Cc', 'Cs') and sign not in '\n\t']
  assert '\u202e' not in shown


def assert_whole(shown):
  """All that can be seen of HOSTILE is there."""
  assert_harmless(shown)
  for part in ('[red]x[/red]', '[/etc]', '[link=file:///]y', '␛[31m', '␀', '␡', ':bomb:'):
    assert part in shown


@given(ANYTHING)
def test_no_control_character_is_left_and_nothing_else_is_changed(text):
  shown = printable(text)
  assert_harmless(shown)
  assert len(shown) == len(text.replace('\r\n', '\n'))
  assert printable(shown) == shown
  same = [sign for sign in text if unicodedata.category(sign)[0] in 'LNP']
  assert [sign for sign in shown if sign in same] == same
  shown.encode()


@given(ANYTHING)
def test_rich_shows_a_text_as_it_is(text):
  console = Console(file=io.StringIO(), force_terminal=False, soft_wrap=True, width=10_000)
  console.print(as_text(text), end='')
  assert console.file.getvalue().replace('\t', '').split() == printable(text).replace('\t', '').split()


def run_of(tmp_path):
  return contract.Run('any', None, {}, tmp_path)


def show_answer(tmp_path, monkeypatch):
  page = Page(HOSTILE, HOSTILE, HOSTILE, format=MARKDOWN)
  store = types.SimpleNamespace(
    groups=np.zeros(1, int),
    page=lambda row: page,
    chunk=lambda row: Chunk(0, len(HOSTILE)),
    manifest={'config': {'bm25': {'stem': True}}},
    folders=[HOSTILE],
    bm25_pages=types.SimpleNamespace(texts_with=lambda term: np.zeros(0, int), vocabulary=list),
  )
  citation = Citation(HOSTILE, HOSTILE, 0, 5, HOSTILE, 0.5)
  found = Found({'hybrid': [Hit(0, 0, 1.0)]}, {'bm25': 1.0})
  for abstains in (False, True):
    said = Answer([citation], 0.5, abstains, HOSTILE)
    terminal.show(types.SimpleNamespace(store=store), HOSTILE, found, said, shown=1, seconds=1.0)


def show_verdicts(tmp_path, monkeypatch):
  from mlsd_jax.algorithms.problem import Mismatch

  console = Console(width=1000)
  verdict_table.print_case(console, HOSTILE.encode(errors='replace'), HOSTILE.encode(errors='replace'), b'[/b]')
  verdict_table.print_mismatch(console, Mismatch([(HOSTILE, ())], '[/a]', '[/b]'))


def fail(run):
  raise UserError(HOSTILE)


@pytest.mark.parametrize(
  'show',
  [
    lambda tmp_path, monkeypatch: run_of(tmp_path).print(HOSTILE),
    lambda tmp_path, monkeypatch: retrieval._warn(HOSTILE),
    lambda tmp_path, monkeypatch: contract.launch(
      'micrograd', {'fail': fail}, 'quickstart', uses_jax=lambda run: False, argv=[]
    ),
    show_answer,
    show_verdicts,
  ],
  ids=['print', 'warn', 'error', 'answer', 'verdicts'],
)
def test_what_others_wrote_is_shown_whole_and_harmless(show, tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('COLUMNS', '1000')
  show(tmp_path, monkeypatch)
  printed = capsys.readouterr()
  assert_whole(printed.out + printed.err)


def test_a_line_of_a_run_is_shown_whole():
  console = Console(file=io.StringIO(), width=1000)
  with Progress(1, console=console) as progress:
    progress.print(HOSTILE)
  assert_whole(console.file.getvalue())


def test_tokens_are_coloured_and_seen():
  assert_whole(token_page.in_terminal(ByteTokenizer(), HOSTILE.replace('\ud800', '')).plain)


def test_a_bar_may_be_named_by_any_path(monkeypatch):
  terminal_ = io.StringIO()
  terminal_.isatty = lambda: True
  monkeypatch.setattr(sys, 'stderr', terminal_)
  with progress_bar('preparing [/etc] [red]x', 3, unit='chunks') as advance:
    advance(3)
  assert '[/etc] [red]x' in terminal_.getvalue()
