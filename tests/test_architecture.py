"""Imports run downward only."""

import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parent.parent


def test_import_contracts_hold():
  """In a process of its own: the linter takes over the standard streams."""
  command = [sys.executable, '-c', 'import importlinter.cli as cli; raise SystemExit(cli.lint_imports(no_cache=True))']
  done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stdout + done.stderr
  assert '5 kept, 0 broken' in done.stdout
