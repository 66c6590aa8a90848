"""Imports run downward only."""

import pathlib

from importlinter import cli

PYPROJECT = pathlib.Path(__file__).parent.parent / 'pyproject.toml'


def test_import_contracts_hold(capsys):
  status = cli.lint_imports(config_filename=str(PYPROJECT), no_cache=True)
  out = capsys.readouterr().out
  assert status == cli.EXIT_STATUS_SUCCESS, out
  assert '3 kept' in out
