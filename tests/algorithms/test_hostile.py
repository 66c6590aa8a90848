"""Programs that attack the judge: as root, as an ordinary user, and where the kernel gives no namespaces."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

from mlsd_jax.algorithms.cage import kernel

HERE = pathlib.Path(__file__).parent
WAYS = {
  'root': ('--root',),
  'ordinary user': (),
  'root in a container': ('--root', '--no-namespaces'),
  'ordinary user in a container': ('--no-namespaces',),
}


@pytest.mark.skipif(not kernel.KNOWN, reason='the numbers of system calls of this machine are not known here')
@pytest.mark.parametrize('way', WAYS)
def test_every_attack_is_refused_and_leaves_nothing(way):
  if os.geteuid() and '--root' in WAYS[way]:
    pytest.skip('only root can play root')
  with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:  # pytest's own folders are closed to others
    folder = pathlib.Path(name)
    (folder / 'temporary').mkdir()
    for each in (folder, folder / 'temporary'):
      each.chmod(0o777)
    environment = {**os.environ, 'TMPDIR': str(folder / 'temporary'), 'PYTHONPATH': os.pathsep.join(sys.path)}
    command = [sys.executable, str(HERE / 'as_user.py'), *WAYS[way], sys.executable, str(HERE / 'run_hostile.py'), name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=HERE.parent.parent)
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert not found['wrong'], '\n'.join(found['wrong'])
  assert found['programs'] >= 60
  if '--no-namespaces' in WAYS[way]:
    assert {'root', 'network', 'processes'} <= set(found['missing'])
