"""A corpus on disk: what is built is what is found, only what changed is done again, and no failure costs the index."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from mlsd_jax.encoder import model_folder
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import generation_files, store
from mlsd_jax.retrieval.build import BuildConfig, Progress, build_store
from mlsd_jax.retrieval.chunking import ChunkConfig, chunk_text
from mlsd_jax.retrieval.pages import read_pages
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.retrieval.store import open_store

CONFIG = BuildConfig(chunk=ChunkConfig(48, 8, 8), shard_size=8, near_duplicate=0)


@pytest.fixture(scope='module')
def built(tmp_path_factory, pages, encoder):
  folder = tmp_path_factory.mktemp('store')
  difference = build_store(pages, folder, encoder, CONFIG)
  assert (difference.added, difference.changed, difference.removed) == (24, 0, 0)
  return folder


@pytest.fixture
def folder(built, tmp_path):
  return shutil.copytree(built, tmp_path / 'store')


def changed(pages):
  """One page gone, one new words, one more."""
  other = dataclasses.replace(pages[3], text=pages[3].text.replace('first', 'second'))
  more = dataclasses.replace(pages[5], id='more')
  return [*pages[:3], other, *pages[4:20], *pages[21:], more]


def everything(store):
  """Chunk texts with their vectors, by page: what the index holds, whatever its rows are."""
  vectors = store.vectors.vectors(store.ids)
  rows = range(store.num_chunks)
  return {
    (store.page_ids[store.owner[row]], store.chunk(row).start): (store.chunk_text(row), vectors[row]) for row in rows
  }


def assert_same(a, b):
  a, b = everything(a), everything(b)
  assert a.keys() == b.keys()
  for key in a:
    assert a[key][0] == b[key][0]
    np.testing.assert_allclose(a[key][1], b[key][1], atol=1e-5)


def test_what_was_built_is_opened(folder, pages, encoder):
  store = open_store(folder, encoder)
  assert store.pages() == pages
  assert store.num_chunks > 48
  texts = [store.chunk_text(row) for row in range(store.num_chunks)]
  assert texts[0] == chunk_text(pages[0], store.chunk(0))
  np.testing.assert_allclose(store.vectors.vectors(store.ids), encoder.encode(texts), atol=1e-5)
  assert (store.owner[store.starts] == np.arange(24)).all()
  np.testing.assert_array_equal(store.rows(store.ids), np.arange(store.num_chunks))


def test_a_page_with_half_a_character_is_built(tmp_path, encoder):
  (tmp_path / 'rows.jsonl').write_text('{"id": "\\ud800", "title": "\\udfff", "text": "half \\ud83d of it"}')
  build_store(read_pages(str(tmp_path), print), tmp_path / 'store', encoder, BuildConfig())
  (page,) = open_store(tmp_path / 'store', encoder).pages()
  assert (page.id, page.title, page.text) == ('\ufffd', '\ufffd', 'half \ufffd of it')


def test_building_again_does_nothing(folder, pages, encoder):
  before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
  difference = build_store(pages, folder, encoder, CONFIG)
  assert (difference.added, difference.changed, difference.removed, difference.embedded) == (0, 0, 0, 0)
  assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before


def test_a_change_embeds_only_what_changed_and_equals_a_fresh_build(folder, pages, encoder, tmp_path):
  difference = build_store(changed(pages), folder, encoder, CONFIG)
  assert (difference.added, difference.changed, difference.removed) == (1, 1, 1)
  assert 0 < difference.embedded <= 8
  build_store(changed(pages), tmp_path / 'fresh', encoder, CONFIG)
  updated, fresh = open_store(folder, encoder), open_store(tmp_path / 'fresh', encoder)
  assert_same(updated, fresh)
  for query in ('page 20 about parsing', 'second edition', 'code_3', 'sending mail'):
    ours, theirs = (Searcher(store, encoder, SearchConfig()).search(query) for store in (updated, fresh))
    for stage in ours.stages:
      a = [(updated.page_ids[hit.page], hit.score) for hit in ours.stages[stage]]
      b = [(fresh.page_ids[hit.page], hit.score) for hit in theirs.stages[stage]]
      np.testing.assert_allclose([score for _, score in a], [score for _, score in b], atol=1e-5)
      assert {page for page, _ in a} == {page for page, _ in b}


def test_a_page_filed_elsewhere_is_found_there(folder, pages, encoder):
  moved = [dataclasses.replace(pages[0], folder='elsewhere'), *pages[1:]]
  build_store(moved, folder, encoder, CONFIG)
  found = Searcher(open_store(folder, encoder), encoder, SearchConfig()).search('copying folders', folder='elsewhere')
  assert all([hit.page for hit in hits] == [0] for hits in found.stages.values())


def test_embeddings_of_another_folder_are_borrowed(folder, pages, encoder, tmp_path):
  difference = build_store(changed(pages), tmp_path / 'other', encoder, CONFIG, borrow=folder)
  assert difference.embedded <= 8
  build_store(changed(pages), tmp_path / 'fresh', encoder, CONFIG)
  assert_same(open_store(tmp_path / 'other'), open_store(tmp_path / 'fresh'))


def test_another_encoder_is_refused_and_embeds_anew(folder, pages, encoder):
  other = fresh_encoder('other', encoder.model.config, encoder.model.tokenizer, seed=1)
  with pytest.raises(UserError, match='made by the encoder small, not by this other'):
    open_store(folder, other)
  difference = build_store(pages, folder, other, CONFIG)
  assert difference.embedded == len({text for text, _ in everything(open_store(folder, other)).values()})


@pytest.mark.parametrize(
  'name',
  ['*/pages.arrow', '*/chunks.arrow', '*/bm25-pages/rows.npy', '*/vectors/**/*.npy', '*.sha256.json'],
)
def test_a_damaged_file_is_named_and_made_anew(folder, pages, encoder, name):
  path = next(path for path in folder.glob(f'generation-{name}') if path.is_file())
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 0xFF
  path.write_bytes(content)
  with pytest.raises(UserError) as error:
    open_store(folder, encoder)
  assert '\n' not in str(error.value)
  warnings = []
  difference = build_store(pages, folder, encoder, CONFIG, Progress(warn=warnings.append))
  assert len(warnings) == 1
  assert difference.embedded == 0  # the embeddings are whole
  assert open_store(folder, encoder).pages() == pages


def test_every_flipped_bit_is_named_and_the_generation_before_used(folder, pages, encoder, check_flips):
  shutil.rmtree(folder / 'embeddings')  # a search reads none
  build_store(changed(pages), folder, encoder, CONFIG)
  shutil.rmtree(folder / 'embeddings')

  def read():
    store = open_store(folder, encoder)
    return repr((store.pages(), store.chunks())), store.vectors.vectors(store.ids).tobytes()

  noticed = set(check_flips(folder, read))
  files = {path.relative_to(folder).as_posix() for path in folder.rglob('*') if path.is_file() and path.stat().st_size}
  assert noticed >= {'current.json', *(name for name in files if name.startswith('generation-000002'))}


def test_a_damaged_shard_of_embeddings_is_made_anew(folder, pages, encoder):
  shard = sorted(folder.glob('embeddings/*/shard-*/vectors.npy'))[0]
  content = bytearray(shard.read_bytes())
  content[-1] ^= 1
  shard.write_bytes(content)
  warnings = []
  difference = build_store(changed(pages), folder, encoder, CONFIG, Progress(warn=warnings.append))
  assert f'{shard} does not match its checksum' in warnings[0]
  assert difference.embedded >= 8


def test_no_pages_is_an_error_and_nothing_built_too(folder, encoder, tmp_path):
  with pytest.raises(UserError, match='no page'):
    build_store([], folder, encoder, CONFIG)
  assert open_store(folder, encoder).num_chunks > 0
  with pytest.raises(UserError, match='holds no index'):
    open_store(tmp_path, encoder)


SCRIPT = """
import json, pathlib, resource, signal, sys
from mlsd_jax.errors import UserError
from mlsd_jax.encoder.model_folder import load
from mlsd_jax.encoder.encoder import Encoder
from mlsd_jax.retrieval.pages import Page
from mlsd_jax.retrieval import generation_files, store
from mlsd_jax.retrieval.build import BuildConfig, build_store
from mlsd_jax.retrieval.store import open_store
from mlsd_jax.retrieval.chunking import ChunkConfig

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder, model, limit = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])  # of a file's size
encoder = Encoder(load(model))
pages = [Page(*row) for row in json.loads(sys.stdin.read())]
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
try:
  build_store(pages, folder, encoder, BuildConfig(chunk=ChunkConfig(48, 8, 8), shard_size=8, near_duplicate=0))
except UserError as error:
  print(error)
"""


@pytest.fixture
def model(encoder, tmp_path):
  """The encoder as a folder, and as it is when read from there."""
  model_folder.save(encoder.model, tmp_path / 'model')
  return tmp_path / 'model', Encoder(model_folder.load(tmp_path / 'model'))


@pytest.mark.parametrize('limit', [100, 2_000])
def test_a_full_disk_is_one_line_and_the_index_stays(folder, pages, model, limit, within):
  """The limit on a file's size stands in for a full disk."""
  path, encoder = model
  build_store(pages, folder, encoder, CONFIG)
  rows = json.dumps([dataclasses.astuple(each) for each in changed(pages)])
  command = [sys.executable, '-c', SCRIPT, str(folder), str(path), str(limit)]
  done = subprocess.run(command, input=rows, capture_output=True, text=True, timeout=within(300))
  assert done.returncode == 0, done.stderr
  assert len(done.stdout.splitlines()) == 1, done.stdout
  assert 'File too large' in done.stdout
  assert open_store(folder, encoder).pages() == pages
  assert not list(folder.glob('*.writing'))


def test_a_killed_build_goes_on_with_the_shards_it_wrote(tmp_path, pages, model):
  path, encoder = model
  folder = tmp_path / 'killed'
  command = [sys.executable, '-c', SCRIPT, str(folder), str(path), '-1']
  rows = json.dumps([dataclasses.astuple(each) for each in pages])
  with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
    process.stdin.write(rows)
    process.stdin.close()
    while process.poll() is None and not list(folder.glob('embeddings/*/shard-000002.sha256.json')):
      time.sleep(0.001)
    process.kill()
  difference = build_store(pages, folder, encoder, CONFIG)
  whole = build_store(pages, tmp_path / 'whole', encoder, CONFIG)
  assert difference.embedded <= whole.embedded - 3 * CONFIG.shard_size
  assert_same(open_store(folder, encoder), open_store(tmp_path / 'whole', encoder))


def test_what_is_open_is_searched_after_two_updates(folder, pages, encoder):
  opened = Searcher(open_store(folder, encoder), encoder, SearchConfig())
  for edition in (pages[1:], pages[2:]):
    build_store(edition, folder, encoder, CONFIG)
  assert not opened.store.folder.exists()
  assert opened.search(pages[0].title).stages['bm25'][0].page == 0
  assert opened.store.page(0) == pages[0]


def test_an_index_of_another_release_is_refused_and_made_anew_with_its_embeddings(folder, pages, encoder, monkeypatch):
  for module in (generation_files, store):
    monkeypatch.setattr(module, 'VERSION', store.VERSION + 1)
  assert not store.is_built(folder)
  with pytest.raises(UserError, match='index again with --mode=update'):
    open_store(folder, encoder)
  warnings = []
  difference = build_store(pages, folder, encoder, CONFIG, Progress(warn=warnings.append))
  assert len(warnings) == 1
  assert difference.embedded == 0
  assert store.is_built(folder)
  assert open_store(folder, encoder).pages() == pages
