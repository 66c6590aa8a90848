import gzip
import hashlib
import http.server
import threading

import pytest

from mlsd_jax.data.fetch import RemoteFile, fetch
from mlsd_jax.errors import UserError

CONTENT = b'to be or not to be' * 10000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def home():
  """The URL of a server that has CONTENT at /file, packed if that is welcome, and, moved there, at /moved."""
  requests = []

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
      requests.append(self.path)
      body = CONTENT if self.path == '/file' else b''
      self.send_response({'/file': 200, '/moved': 302}.get(self.path, 404))
      if self.path == '/moved':
        self.send_header('Location', '/file')
      if 'gzip' in self.headers.get('Accept-Encoding', ''):
        body = gzip.compress(body)
        self.send_header('Content-Encoding', 'gzip')
      self.send_header('Content-Length', str(len(body)))
      self.end_headers()
      self.wfile.write(body)

    def log_message(self, *args):
      pass

  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f'http://127.0.0.1:{server.server_port}', requests
    server.shutdown()
    thread.join()


@pytest.mark.parametrize('path', ['file', 'moved'])
def test_an_absent_file_is_downloaded_once(home, path: str, own_cache):
  url, requests = home
  remote = RemoteFile('input.txt', f'{url}/{path}', SHA256)
  found = fetch('plays', remote)
  assert found == own_cache / 'sources' / 'plays' / 'input.txt'
  assert found.read_bytes() == CONTENT
  count = len(requests)
  assert fetch('plays', remote) == found
  assert len(requests) == count


def test_the_users_folder_comes_first(home, tmp_path, monkeypatch):
  url, requests = home
  monkeypatch.setenv('MLSD_DATA_DIR', str(tmp_path))
  (tmp_path / 'plays').mkdir()
  (tmp_path / 'plays' / 'input.txt').write_bytes(CONTENT)
  assert fetch('plays', RemoteFile('input.txt', f'{url}/file', SHA256)) == tmp_path / 'plays' / 'input.txt'
  assert requests == []


def test_a_download_that_is_not_the_file_leaves_nothing(home, own_cache):
  url, _ = home
  with pytest.raises(UserError, match='not the file that was expected'):
    fetch('plays', RemoteFile('input.txt', f'{url}/file', '0' * 64))
  assert [path for path in own_cache.rglob('*') if path.is_file()] == []


def test_a_damaged_file_is_named_and_kept(home, own_cache):
  url, requests = home
  path = own_cache / 'sources' / 'plays' / 'input.txt'
  path.parent.mkdir(parents=True)
  path.write_bytes(CONTENT[:-1])
  with pytest.raises(UserError, match=r'input\.txt is damaged'):
    fetch('plays', RemoteFile('input.txt', f'{url}/file', SHA256))
  assert path.exists()
  assert requests == []


@pytest.mark.parametrize('laid_down', [True, False])
def test_offline_and_absent_names_url_and_folder(laid_down: bool, own_cache, tmp_path, monkeypatch):
  if laid_down:
    monkeypatch.setenv('MLSD_DATA_DIR', str(tmp_path))
  url = 'http://127.0.0.1:1/input.txt'  # nothing listens on port 1
  with pytest.raises(UserError) as error:
    fetch('plays', RemoteFile('input.txt', url, SHA256))
  folder = tmp_path / 'plays' if laid_down else own_cache / 'sources' / 'plays'
  assert url in str(error.value)
  assert str(folder) in str(error.value)
  assert '\n' not in str(error.value)


def test_an_answer_of_404_is_told(home):
  url, _ = home
  with pytest.raises(UserError, match='404'):
    fetch('plays', RemoteFile('input.txt', f'{url}/gone', SHA256))
