"""What `from mlsd_jax.PACKAGE import NAME` finds, and what importing a package costs."""

import ast
import importlib
import pathlib
import pkgutil
import subprocess
import sys

import pytest

import mlsd_jax

FOUND = pkgutil.walk_packages(mlsd_jax.__path__, 'mlsd_jax.')
PACKAGES = sorted(each.name for each in FOUND if each.ispkg)
# Rooms inside a package and folders of problems, whose modules are imported by their own names.
WITHOUT_EXPORTS = ('mlsd_jax.recsys.', 'mlsd_jax.algorithms.')
EXPORTING = [name for name in PACKAGES if not name.startswith(WITHOUT_EXPORTS)]
STUBS = sorted(pathlib.Path(*mlsd_jax.__path__).rglob('__init__.pyi'))


@pytest.mark.parametrize('package', PACKAGES)
def test_a_package_opens_with_a_sentence(package):
  first = (importlib.import_module(package).__doc__ or '').strip().split('\n\n')[0]
  assert len(first) > 20
  assert first.endswith('.')


@pytest.mark.parametrize('package', EXPORTING)
def test_what_a_package_exports_is_there(package):
  module = importlib.import_module(package)
  for name in module.__all__:
    assert getattr(module, name) is not None
    assert name in dir(module)
  with pytest.raises(AttributeError, match='no_such_name'):
    _ = module.no_such_name


@pytest.mark.parametrize('package', EXPORTING)
def test_an_export_has_a_docstring(package):
  module = importlib.import_module(package)
  without = [name for name in module.__all__ if not (getattr(module, name).__doc__ or '').strip()]
  assert not without


@pytest.mark.parametrize(
  ('first', 'then'),
  [
    ('from mlsd_jax.generation.generate import Sample', 'from mlsd_jax.generation import generate'),
    ('from mlsd_jax.algorithms.verdicts import Case', 'from mlsd_jax.algorithms import judge'),
  ],
)
def test_a_function_named_as_its_module_is_the_function_in_any_order(first, then):
  name = then.split()[-1]
  for code in (f'{first}; {then}; assert callable({name})', f'{then}; {first}; {then}; assert callable({name})'):
    subprocess.run([sys.executable, '-c', code], check=True)


@pytest.mark.parametrize('package', EXPORTING)
def test_importing_a_package_loads_neither_jax_nor_its_own_modules_that_need_it(package):
  slow = ('jax', 'flax', 'orbax', 'matplotlib')
  code = f'import {package}, sys; print([name for name in {slow} if name in sys.modules])'
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  assert done.stdout.strip() == '[]'


def test_micrograds_engine_is_exported_without_jax():
  use = 'from mlsd_jax.autograd import MLP, Value; (Value(2.0) ** 2).backward()'
  subprocess.run([sys.executable, '-c', f'import sys; {use}; assert "jax" not in sys.modules'], check=True)


@pytest.mark.parametrize('stub', STUBS, ids=lambda stub: stub.parent.name)
def test_type_checkers_and_python_see_the_same_exports(stub):
  """lazy_loader reads the stub's imports, type checkers its __all__."""
  package = importlib.import_module(f'mlsd_jax.{stub.parent.name}')
  (declared,) = (
    ast.literal_eval(statement.value)
    for statement in ast.parse(stub.read_text()).body
    if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == '__all__'
  )
  assert sorted(declared) == package.__all__
