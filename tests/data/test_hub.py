"""Files of a hub's model that are asked for later; weights in one file or in shards."""

import functools
import http.server
import json
import sys
import threading

import pytest

from mlsd_jax.data import hub

NAME = 'someone/small'


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
