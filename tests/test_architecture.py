"""Imports run downward only: the contracts of pyproject.toml hold."""

import pathlib

from importlinter.application.use_cases import create_report, read_user_options
from importlinter.configuration import configure

PYPROJECT = pathlib.Path(__file__).parent.parent / 'pyproject.toml'


def test_import_contracts_hold():
  configure()
  report = create_report(read_user_options(str(PYPROJECT)))
  broken = [contract.name for contract, check in report.get_contracts_and_checks() if not check.kept]
  assert report.contracts
  assert not broken
