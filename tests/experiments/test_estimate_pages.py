"""The design pages say what their commands print; what is wrong with a marker is one line."""

import pytest

from experiments import estimate, estimate_pages
from mlsd_jax.errors import UserError

PAGES = sorted(estimate_pages.DESIGN.glob('*.md'))
STEPS = ('1. Problem', '2. Metrics', '3. Architecture', '4. Data', '5. ', '6. ', '7. Serving', '8. ', '9. Scaling')


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_a_page_and_its_commands_agree(page):
  text = page.read_text()
  assert estimate_pages.fill(text, estimate.main) == text, 'run python -m experiments.estimate --pages'


@pytest.mark.parametrize('page', [page for page in PAGES if page.stem != 'index'], ids=lambda page: page.stem)
def test_a_page_has_the_nine_steps_a_drawing_and_what_is_asked_next(page):
  lines = page.read_text().splitlines()
  headings = [line.removeprefix('## ') for line in lines if line.startswith('## ')]
  assert len(headings) == len(STEPS) + 1
  assert all(heading.startswith(step) for heading, step in zip(headings, STEPS, strict=False))
  assert headings[-1] == 'Asked next'
  assert '```text' in lines
  assert '### What breaks first, and ten times the load' in lines


def test_a_page_is_filled_in_and_filled_anew():
  marker = '<!-- estimate: --system=algorithms --contestants=10k | workers -->'
  empty = f'before\n{marker}\n<!-- /estimate -->\nafter\n'
  filled = estimate_pages.fill(empty, estimate.main)
  assert 'cores at the peak' in filled
  assert 'submissions/s' not in filled.partition('cores at the peak')[0].partition('workers\n')[0]
  assert estimate_pages.fill(filled, estimate.main) == filled
  stale = filled.replace('cores at the peak', 'cores of last year')
  assert estimate_pages.fill(stale, estimate.main) == filled


@pytest.mark.parametrize(
  ('command', 'said'),
  [('--system=algorithms | nothing', "has no group 'nothing'"), ('--system=gpt3', "--system='gpt3' is unknown")],
)
def test_a_marker_that_shows_nothing_is_said(command, said):
  with pytest.raises(UserError) as caught:
    estimate_pages.fill(f'<!-- estimate: {command} -->\n<!-- /estimate -->\n', estimate.main)
  assert said in str(caught.value)
