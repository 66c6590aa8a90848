"""Files of a hub's model that are asked for later; weights in one file or in shards."""

import functools
import hashlib
import http.server
import json
import sys
import threading

import pytest

from mlsd_jax.data import hub
from mlsd_jax.errors import UserError

NAME = 'someone/small'
HEADERS = {}  # what the hub says of each file
COMMIT = 'c0ffee' * 6 + 'c0de'


@pytest.fixture
def server(tmp_path, monkeypatch):
  """The folder of the model on a hub on this machine, what was asked of it, and a function that takes it offline."""
  main = tmp_path / 'hub' / NAME / 'resolve' / 'main'
  main.mkdir(parents=True)
  for name in ('config.json', hub.WEIGHTS, 'vocab.txt'):
    (main / name).write_text(f'the {name}')
  asked = []

  class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
      asked.append(self.path.rpartition('/')[2])
      super().do_GET()

    def end_headers(self):
      for name, value in HEADERS.get(self.path.rpartition('/')[2], {}).items():
        self.send_header(name, value)
      super().end_headers()

    def log_message(self, *_):
      pass

  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)  # as where it is not installed
  handler = functools.partial(Handler, directory=tmp_path / 'hub')
  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{running.server_port}')
    yield main, asked, lambda: monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:1')
    running.shutdown()
    thread.join()


def test_a_file_asked_for_later_comes_into_the_folder_that_is_there(server):
  _, asked, _ = server
  folder = hub.model_folder(NAME)
  asked.clear()
  assert hub.model_folder(NAME, ['vocab.txt', 'merges.txt']) == folder
  assert (folder / 'vocab.txt').read_text() == 'the vocab.txt'
  assert asked == ['vocab.txt', 'merges.txt']
  hub.model_folder(NAME, ['merges.txt', 'vocab.txt'])  # one is there, the other is known not to be
  assert asked == ['vocab.txt', 'merges.txt']


def test_offline_a_model_does_without(server):
  _, _, go_offline = server
  folder = hub.model_folder(NAME)
  go_offline()
  assert hub.model_folder(NAME, ['vocab.txt']) == folder


def test_a_folder_that_cannot_be_written_does_without(server):
  folder = hub.model_folder(NAME)
  (folder / '1_Pooling').write_text('no folder')
  assert hub.model_folder(NAME, ['1_Pooling/config.json', 'vocab.txt']) == folder


def test_shards_that_are_all_there_want_no_hub(server):
  main, _, go_offline = server
  (main / hub.WEIGHTS).rename(main / 'model-1.safetensors')
  (main / hub.INDEX).write_text(json.dumps({'weight_map': {'a': 'model-1.safetensors'}}))
  folder = hub.model_folder(NAME)
  go_offline()
  assert hub.model_folder(NAME) == folder


def git_digest(content):
  return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


@pytest.fixture
def promises(server, monkeypatch):
  """Says of each file its commit and sum, as the hub does; `of(name, sum)` says another one."""
  main, *_ = server
  held = {}

  def of(name, digest):
    held[name] = {'X-Repo-Commit': COMMIT, 'ETag': f'"{digest}"'}

  of('config.json', git_digest((main / 'config.json').read_bytes()))
  of(hub.WEIGHTS, hashlib.sha256((main / hub.WEIGHTS).read_bytes()).hexdigest())
  monkeypatch.setitem(globals(), 'HEADERS', held)
  (main.parent / COMMIT).symlink_to(main)
  return of


def test_all_files_come_from_the_commit_of_the_first(server, promises):
  main, _, _ = server
  folder = hub.model_folder(NAME)
  (main.parent / COMMIT).unlink()
  (main.parent / COMMIT).mkdir()
  (main.parent / COMMIT / 'vocab.txt').write_text('of that commit')
  assert (hub.model_folder(NAME, ['vocab.txt']) / 'vocab.txt').read_text() == 'of that commit'
  origin = json.loads((folder / '.origin.json').read_text())
  assert origin['commit'] == COMMIT
  assert set(origin['files']) == {'config.json', hub.WEIGHTS, 'vocab.txt'}


@pytest.mark.parametrize('name', ['config.json', hub.WEIGHTS])
@pytest.mark.parametrize('digest', [git_digest(b'another'), hashlib.sha256(b'another').hexdigest()])
def test_a_file_that_is_not_what_the_hub_promised_is_not_kept(server, promises, name, digest):
  promises(name, digest)
  with pytest.raises(UserError, match=f'{name} is not the file that the hub has'):
    hub.model_folder(NAME)
  promises(name, '')  # a hub that says nothing of a sum
  assert (hub.model_folder(NAME) / name).exists()


def test_a_file_that_changed_on_the_disk_is_named(server):
  folder = hub.model_folder(NAME)
  (folder / 'config.json').write_text('the config.jsoN')
  with pytest.raises(UserError, match=r'config\.json does not match its checksum: delete'):
    hub.model_folder(NAME)


def test_a_revision_is_asked_for_by_name(server):
  main, _, _ = server
  (main.parent / 'v1.0').mkdir()
  for name in ('config.json', hub.WEIGHTS):
    (main.parent / 'v1.0' / name).write_text('the first')
  assert (hub.model_folder(f'{NAME}@v1.0') / 'config.json').read_text() == 'the first'
  assert (hub.model_folder(NAME) / 'config.json').read_text() == 'the config.json'
  with pytest.raises(UserError, match='is no folder'):
    hub.model_folder(f'{NAME}@../main')
