"""Parts in an object store (S3 and Google's, of local servers): whole or not there, equal to those of a folder."""

import json

import pytest

from mlsd_jax import tokenizers
from mlsd_jax.data.prepare_parts import local_tokens, prepare_parts
from mlsd_jax.data.tokens import TokenDataset
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, map_parts, open_parts
from mlsd_jax.executor.parts import numbered
from mlsd_jax.executor.place import RemotePlace

pytestmark = [
  pytest.mark.filterwarnings(f'ignore::{kind}')  # of the servers and of clients' sessions, which end with the process
  for kind in ('ResourceWarning', 'DeprecationWarning', 'FutureWarning', 'pytest.PytestUnraisableExceptionWarning')
]

TASKS = numbered([3, 1, 4])
NOBODY = 'http://127.0.0.1:1'


@pytest.fixture(scope='module', params=['s3', 'gs'])
def server(request):
  """Its scheme, the variable that says where it is, its address, and further variables of its client."""
  if request.param == 's3':
    pytest.importorskip('s3fs', reason='s3fs is not installed: uv sync --group cluster')
    moto_server = pytest.importorskip('moto.server', reason='moto is not installed: uv sync --group cluster')
    running = moto_server.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    keys = {'AWS_ACCESS_KEY_ID': 'key', 'AWS_SECRET_ACCESS_KEY': 'secret', 'AWS_DEFAULT_REGION': 'us-east-1'}
    yield 's3', 'AWS_ENDPOINT_URL', f'http://{host}:{port}', keys
    running.stop()
  else:
    pytest.importorskip('gcsfs', reason='gcsfs is not installed: uv sync --group gcs')
    emulator = pytest.importorskip('gcp_storage_emulator.server', reason='no emulator: uv sync --group gcs')
    running = emulator.create_server('127.0.0.1', 0, in_memory=True)
    running.start()
    host, port = running._api._httpd.server_address
    yield 'gs', 'STORAGE_EMULATOR_HOST', f'http://{host}:{port}', {'NO_GCE_CHECK': 'true'}
    running.stop()


@pytest.fixture
def bucket(server, monkeypatch, tmp_path):
  """s3://... or gs://... of an empty bucket, for this process and those that it starts."""
  scheme, variable, address, others = server
  for name, value in {variable: address, **others, 'MLSD_CACHE_DIR': str(tmp_path / 'cache')}.items():
    monkeypatch.setenv(name, value)
  name = f'bucket-{tmp_path.name[-30:].replace("_", "-").lower().strip("-")}'
  store(scheme).mkdir(name)
  return f'{scheme}://{name}/deep/prefix'


def store(path):
  return RemotePlace(f'{path.partition("://")[0]}://any')._files()


def make_worker():
  def work(task, folder):
    (folder / 'below').mkdir()
    (folder / 'below' / 'square.txt').write_text(str(task * task) * 1000)
    (folder / 'task.txt').write_text(str(task))
    return {'task': task}

  return work


def contents(parts):
  return [
    {path.name: path.read_text() for path in sorted(folder.rglob('*')) if path.is_file()} for folder in parts.folders()
  ]


@pytest.mark.parametrize('kind', ['here', pytest.param('processes', marks=pytest.mark.slow)])
def test_parts_of_a_store_are_those_of_a_folder(kind, bucket, tmp_path):
  config = ExecutorConfig(kind, workers=2)
  parts = map_parts(TASKS, make_worker, bucket, identity={'a': 1}, config=config)
  local = map_parts(TASKS, make_worker, tmp_path / 'local', identity={'a': 1})
  assert contents(parts) == contents(local)
  assert parts.seals == local.seals
  assert contents(open_parts(bucket)) == contents(local)
  assert map_parts(TASKS, make_worker, bucket, identity={'a': 1}).made == 0
  with pytest.raises(UserError, match='a 1 against 2'):
    map_parts(TASKS, make_worker, bucket, identity={'a': 2})


def test_what_is_half_uploaded_is_never_read(bucket):
  """A worker dies between any two of its uploads: its part is not there, and is made again."""
  map_parts(TASKS, make_worker, bucket, identity={})
  files, place = store(bucket), RemotePlace(bucket)
  files.rm_file(f'{bucket}/part-00001.sha256.json')
  files.rm_file(f'{bucket}/part-00001/task.txt')
  files.rm_file(f'{bucket}/made.json')
  assert sorted(place.sealed()) == ['part-00000', 'part-00002']
  with pytest.raises(UserError, match='not all of its 3 parts are made'):
    open_parts(bucket)
  assert map_parts(TASKS, make_worker, bucket, identity={}).made == 1
  assert [each['task.txt'] for each in contents(open_parts(bucket))] == ['3', '1', '4']


def test_an_object_that_changed_or_is_gone_is_noticed(bucket, tmp_path, monkeypatch):
  parts = map_parts(TASKS, make_worker, bucket, identity={})
  files = store(bucket)
  files.pipe_file(f'{bucket}/part-00000/task.txt', b'9')  # of the same size: seen when it is fetched
  with pytest.raises(UserError, match=r'part-00000 is damaged .*does not match its checksum'):
    parts.folder('part-00000')
  files.pipe_file(f'{bucket}/part-00000/task.txt', b'3')
  files.pipe_file(f'{bucket}/part-00002/task.txt', b'44')
  warnings: list[str] = []
  assert map_parts(TASKS, make_worker, bucket, identity={}, warn=warnings.append).made == 1
  assert 'part-00002/task.txt has 2 bytes, not 1' in warnings[0]
  assert [each['task.txt'] for each in contents(parts)] == ['3', '1', '4']
  files.pipe_file(f'{bucket}/part-00001.sha256.json', b'{"note": {')
  with pytest.raises(UserError, match=r'part-00001\.sha256\.json') as raised:
    map_parts(TASKS, make_worker, bucket, identity={})
  assert '\n' not in str(raised.value)


def test_no_bucket_no_permission_no_server_are_one_line(bucket, server, monkeypatch):
  scheme, variable, *_ = server
  for path, said in (
    (f'{scheme}://not-{bucket[5:15]}/x', 'cannot write'),
    ('ftp9://host/x', 'no store of the kind ftp9://'),
  ):
    with pytest.raises(UserError, match=said) as raised:
      map_parts(TASKS, make_worker, path, identity={})
    assert '\n' not in str(raised.value)
  monkeypatch.setenv(variable, NOBODY)
  monkeypatch.setenv('AWS_MAX_ATTEMPTS', '1')
  with pytest.raises(UserError, match=rf'cannot (read|list) {scheme}://') as raised:
    map_parts(TASKS, make_worker, bucket, identity={})
  assert '\n' not in str(raised.value)


def test_token_shards_of_a_store_are_those_of_a_folder(bucket, tmp_path):
  texts = tmp_path / 'texts'
  texts.mkdir()
  for file in range(4):
    rows = [json.dumps({'text': f'{file}, {row} bottles'}) for row in range(50)]
    (texts / f'{file}.jsonl').write_text('\n'.join(rows))
  tokenizer = tokenizers.ByteTokenizer()
  with pytest.raises(UserError, match='no tokens have been prepared there, or not to the end'):
    local_tokens(bucket)
  for output in (bucket, tmp_path / 'tokens'):
    prepare_parts(str(texts), tokenizer, output, part_bytes=2000)
  for split in ('train', 'val'):
    one, other = (TokenDataset.open(local_tokens(place), split) for place in (bucket, tmp_path / 'tokens'))
    assert one.read(0, len(one)).tolist() == other.read(0, len(other)).tolist()
  store(bucket).pipe_file(f'{bucket}/part-00000/train-00000.bin', b'half')
  local = local_tokens(bucket)  # what was fetched and is whole needs no other look
  (local / 'part-00000' / 'train-00000.bin').unlink()
  with pytest.raises(UserError, match='part-00000 is damaged'):
    local_tokens(bucket)
