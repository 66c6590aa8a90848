"""A newer version takes the place of the one that is served: no request is lost, and one call puts it back."""

import asyncio
import concurrent.futures
import ctypes
import dataclasses
import gc
import pathlib
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from starlette.testclient import TestClient

from mlsd_jax.errors import UserError
from mlsd_jax.serving import RecommendService, Services, Shop, create_app, memory, replacement
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.memory import freeze_loaded, give_memory_back
from mlsd_jax.serving.replacement import Replacement, Source
from mlsd_jax.tokenizers import ByteTokenizer


@dataclasses.dataclass
class Folder:
  """Where builds appear."""

  version: str | None = '1'
  broken: bool = False


@pytest.fixture
def served(shop, tmp_path):
  folder, tokenizers = Folder(), {}
  state = lambda: dataclasses.replace(shop, version=folder.version)
  opened = Shop(state(), tmp_path, wall=lambda: shop.snapshot.cut + 3600)

  def open_():
    if folder.broken:
      raise UserError('it is damaged')
    tokenizers[folder.version] = ByteTokenizer()
    service = RecommendService('shop', state(), shop=opened)
    return {'recommenders': {'shop': service}, 'tokenizers': {'shop': tokenizers[folder.version]}}

  now = open_()
  services = Services(**now, sources=[Source('shop', lambda: folder.version, now, open_, '1')])
  with TestClient(create_app(services, renew_seconds=0.02)) as client:
    yield client, folder, services, tokenizers


def wait_for(client, version):
  for _ in range(2000):
    said = client.post('/v1/recommend', json={'user': 'u'})
    if said.json()['version'] == version:
      return
  raise AssertionError(f'version {version} never came')


def test_replaced_under_load_and_put_back(served, shop):
  client, folder, services, tokenizers = served
  users, item = shop.users['id'].to_list(), shop.items['id'][0]
  stop, answers = threading.Event(), []

  def ask(number):
    count = 0
    while not stop.is_set():
      count += 1
      user = users[(number * 97 + count) % len(users)]
      body = {'user': user, 'item': item, 'id': f'{number} {count}'}
      answers.append(
        client.post('/v1/events', json=body) if count % 5 == 0 else client.post('/v1/recommend', json={'user': user})
      )

  with concurrent.futures.ThreadPoolExecutor(3) as pool:
    asking = [pool.submit(ask, number) for number in range(3)]
    for version in ('2', '3', '4'):
      folder.version = version
      wait_for(client, version)
      assert services.tokenizers['shop'] is tokenizers[version]
    said = client.post('/v1/models/rollback', json={'model': 'shop'}).json()
    assert said == {'model': 'shop', 'version': '3', 'replaced': '4'}
    wait_for(client, '3')
    assert services.tokenizers['shop'] is tokenizers['3']
    stop.set()
    for each in asking:
      each.result()
  assert {answer.status_code for answer in answers} == {200}
  # What was bought under any version is counted under the one that is served.
  posted = [answer for answer in answers if 'accepted' in answer.json()]
  view = services.recommenders['shop'].view
  bought = view.state.snapshot.column('item', 'n')[view.items[item]]
  assert bought == shop.snapshot.column('item', 'n')[0] + len(posted)
  assert client.post('/v1/recommend', json={'user': 'u'}).json()['version'] == '3'  # 4 is not taken again
  folder.version = '5'
  wait_for(client, '5')


def test_what_cannot_be_opened_is_told_once_and_the_old_one_goes_on():
  opened, told = [], []
  folder = Folder()

  def open_():
    opened.append(folder.version)
    if folder.broken:
      raise UserError('it is damaged')
    return {'tokenizers': {'bytes': ByteTokenizer()}}

  async def run():
    first = {'tokenizers': {'bytes': ByteTokenizer()}}
    kinds = {'tokenizers': dict(first['tokenizers'])}
    source = Source('bytes', lambda: folder.version, dict(first), open_, '1')
    replacement = Replacement(kinds, [source], lambda service: None, warn=told.append)
    assert not await replacement.refresh('bytes')
    with pytest.raises(ApiError, match='was not replaced'):
      await replacement.roll_back('bytes')
    with pytest.raises(ApiError, match='is not served here'):
      await replacement.roll_back('x')
    folder.version = None  # half written
    assert not await replacement.refresh('bytes')
    folder.version, folder.broken = '2', True
    assert not await replacement.refresh('bytes')
    assert not await replacement.refresh('bytes')
    assert kinds == first
    folder.version, folder.broken = '3', False
    assert await replacement.refresh('bytes')
    assert replacement.version('bytes') == '3'
    assert kinds['tokenizers']['bytes'] is not first['tokenizers']['bytes']
    assert await replacement.roll_back('bytes') == '1'
    assert kinds == first

  asyncio.run(run())
  assert opened == ['2', '3']
  assert told == ['bytes: version 2 is not served: it is damaged', 'bytes: version 3 is served']


class Cyclic:
  """As a service and its batches refer to one another."""

  def __init__(self):
    self.itself = self

  def close(self):
    pass


@pytest.fixture
def freezing(monkeypatch):
  """As in a process that serves and does nothing else."""
  monkeypatch.setattr(memory, '_freezes', False)
  freeze_loaded()
  yield
  gc.unfreeze()


def is_seen_by_collector(service):
  return any(each is service for each in gc.get_objects())


def test_what_a_new_version_loads_is_kept_from_the_collector(freezing):
  folder = Folder()

  async def run():
    source = Source(
      'words', lambda: folder.version, {'names': {'words': Cyclic()}}, lambda: {'names': {'words': Cyclic()}}, '1'
    )
    kinds = {'names': dict(source.now['names'])}
    replacing = Replacement(kinds, [source], lambda service: None, warn=lambda line: None)
    assert is_seen_by_collector(kinds['names']['words'])  # made since
    folder.version = '2'
    assert await replacing.refresh('words')
    assert not is_seen_by_collector(kinds['names']['words'])

  asyncio.run(run())


def test_where_nothing_is_kept_from_the_collector_a_replacement_keeps_nothing(monkeypatch):
  monkeypatch.setattr(gc, 'freeze', lambda: pytest.fail('froze what may be of others'))
  monkeypatch.setattr(gc, 'unfreeze', lambda: pytest.fail('unfroze what may be of others'))
  give_memory_back()
  give_memory_back(was_closed=True)


class Slow(Cyclic):
  """Python collects in one thread at a time; whoever asks meanwhile is sent away."""

  def __init__(self):
    super().__init__()
    self.freed, self.go_on = threading.Event(), threading.Event()

  def __del__(self):
    self.freed.set()
    assert self.go_on.wait(60)


def test_what_is_free_goes_while_another_thread_collects():
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    slow = Slow()
    freed, go_on = slow.freed, slow.go_on
    del slow
    other = pool.submit(gc.collect)
    assert freed.wait(60)
    service = Cyclic()
    gone = weakref.ref(service)
    del service
    giving = pool.submit(give_memory_back)
    with pytest.raises(TimeoutError):
      giving.result(0.1)
    go_on.set()
    giving.result(60)
    assert gone() is None
    other.result(60)


@pytest.mark.parametrize('frozen', [False, True])
def test_a_version_that_was_closed_is_gone(monkeypatch, frozen, request):
  """The one before is held, to be put back; nothing holds those before it, the first one least of all."""
  if frozen:
    request.getfixturevalue('freezing')
  monkeypatch.setattr(replacement, '_IDLE_SECONDS', 0.0)
  folder, made = Folder(), []

  def open_():
    service = Cyclic()
    made.append(weakref.ref(service))
    return {'names': {'words': service}}

  async def run():
    services = Services(**(first := open_()))
    if frozen:
      gc.freeze()
    source = Source('words', lambda: folder.version, first, open_, '1')
    replacing = Replacement(services.kinds(), [source], lambda service: None, warn=lambda line: None)
    del first
    for version in ('2', '3', '4'):
      folder.version = version
      assert await replacing.refresh('words')
      await asyncio.gather(*replacing._closing)
    assert [each() is not None for each in made] == [False, False, True, True]

  asyncio.run(run())


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'malloc_trim'), reason='another C library than glibc')
def test_memory_between_what_is_in_use_goes_back_to_the_system():
  resident = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * 4096
  held = [np.ones(2500) for _ in range(5000)]  # 100 MB in blocks that come from the heap
  kept = held[::50]
  del held
  before = resident()
  give_memory_back()
  assert before - resident() > 50e6
  assert all(each.sum() == 2500 for each in kept)


APART = """
import pathlib
import numpy as np
from mlsd_jax.serving.memory import arrays_apart

resident = lambda: int(pathlib.Path('/proc/self/statm').read_text().split()[1]) * 4096
np.ones(3 * 2**20)  # 25 MB, mapped and freed: from now on the heap would be used for all that is smaller
with arrays_apart():
  old, new = zip(*[(np.ones(2**18), np.ones(2**17)) for _ in range(40)], strict=True)
before = resident()
del old
assert before - resident() > 70e6  # of 84
assert all(each.sum() == 2**17 for each in new)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), 'mallopt'), reason='another C library than glibc')
def test_each_array_of_what_is_loaded_goes_back_when_it_is_freed():
  """Above each lies one that stays, as a newer version's do; in a process whose heap has no room for them."""
  subprocess.run([sys.executable, '-c', APART], check=True)
