"""--pages: figures of the design pages, written between markers by the commands that the markers name.

    <!-- estimate: --system=gpt2 --hardware=8xh100 | memory a device, a step -->
    ...
    <!-- /estimate -->

What stands behind the bar names the groups that are shown, by how their titles begin; without one, all are.
"""

import contextlib
import io
import pathlib
import re
import shlex
import textwrap
from collections.abc import Callable

from mlsd_jax import files
from mlsd_jax.errors import UserError

DESIGN = pathlib.Path(__file__).resolve().parent.parent / 'docs' / 'design'
_MARKED = re.compile(r'<!-- estimate: ((?:(?!-->).)*?) -->\n.*?<!-- /estimate -->', re.DOTALL)


def commands(text: str) -> list[str]:
  """What the markers of a page name."""
  return _MARKED.findall(text)


def fill(text: str, main: Callable[[list[str]], int]) -> str:
  """A page with what its commands print now.

  Args:
    main: runs a command line of experiments.estimate.

  Raises:
    UserError: a command fails, or shows no group.
  """
  return _MARKED.sub(lambda match: f'<!-- estimate: {match[1]} -->\n{_shown(match[1], main)}\n<!-- /estimate -->', text)


def _shown(command: str, main: Callable[[list[str]], int]) -> str:
  arguments, _, wanted = command.partition(' | ')
  out, err = io.StringIO(), io.StringIO()
  with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    code = main(shlex.split(arguments))
  if code:
    raise UserError(f'{arguments}: {err.getvalue().strip()}')
  _, *groups = out.getvalue().strip().split('\n\n')
  titles = [' '.join(title.split()) for title in wanted.split(',') if title.strip()]
  chosen = [group for group in groups if not titles or group.startswith(tuple(titles))]
  if not chosen or any(not any(group.startswith(title) for group in groups) for title in titles):
    raise UserError(f'{arguments} has no group {wanted!r}')
  shown = _wrapped(f'uv run python -m experiments.estimate {" ".join(arguments.split())}')
  return '\n'.join((*shown, '', *_indented('\n\n'.join(chosen)), ''))


def _wrapped(command: str) -> list[str]:
  """The command as a block of code, with a backslash where a line is too long for a page."""
  parts = textwrap.wrap(command, 140, break_long_words=False, break_on_hyphens=False)
  return [
    ('    ' if n == 0 else '      ') + part + (' \\' if n < len(parts) - 1 else '') for n, part in enumerate(parts)
  ]


def _indented(text: str) -> list[str]:
  return [f'    {line}'.rstrip() for line in text.splitlines()]


def rewrite(main: Callable[[list[str]], int]) -> list[str]:
  """Rewrites every page of docs/design; the names of those that changed."""
  changed = []
  for page in sorted(DESIGN.glob('*.md')):
    text = page.read_text()
    filled = fill(text, main)
    if filled != text:
      files.write_text(page, filled)
      changed.append(page.name)
  return changed
