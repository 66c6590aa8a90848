"""A log of changes beside an index: what is searched is a rebuild, and half a record costs only itself."""

import dataclasses
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlsd_jax.errors import UserError
from mlsd_jax.retrieval import build, changes
from mlsd_jax.retrieval.build import BuildConfig, build_store, update_store
from mlsd_jax.retrieval.chunking import ChunkConfig
from mlsd_jax.retrieval.page import Page
from mlsd_jax.retrieval.search import SearchConfig, Searcher
from mlsd_jax.retrieval.store import open_store

CONFIG = BuildConfig(chunk=ChunkConfig(48, 8, 8))
QUERIES = ('page 20 about parsing', 'second edition', 'code_3', 'sending mail')


@pytest.fixture(scope='module')
def built(tmp_path_factory, pages, encoder):
  folder = tmp_path_factory.mktemp('store')
  build_store(pages, folder, encoder, CONFIG)
  return folder


@pytest.fixture(autouse=True)
def _log_anything(monkeypatch):
  monkeypatch.setattr(build, '_LOGGED', 100)


def searched(store, encoder):
  """By query and stage, score by page; and which pages are shown as one."""
  found = {}
  for query in QUERIES:
    for stage, hits in Searcher(store, encoder, SearchConfig()).search(query).stages.items():
      found |= {(query, stage, store.page_ids[hit.page]): hit.score for hit in hits}
  alike = {}
  for id_, group in zip(store.page_ids, store.groups.tolist(), strict=True):
    alike.setdefault(group, set()).add(id_)
  return found, sorted(map(sorted, alike.values()))


def assert_is_a_rebuild(folder, pages, encoder, fresh):
  shutil.rmtree(fresh, ignore_errors=True)
  build_store(pages, fresh, encoder, CONFIG)
  ours, theirs = open_store(folder, encoder), open_store(fresh, encoder)
  assert sorted(ours.pages(), key=lambda page: page.id) == sorted(pages, key=lambda page: page.id)
  texts = [
    {each.chunk_text(row): vector for row, vector in enumerate(each.vectors.vectors(each.ids))}
    for each in (ours, theirs)
  ]
  assert texts[0].keys() == texts[1].keys()
  for text, vector in texts[0].items():
    np.testing.assert_allclose(vector, texts[1][text], atol=1e-5)
  assert [len(own) for own in ours.chunks()] == [ours.chunks_of(row) for row in range(len(ours.page_ids))]
  (found, alike), (wanted, alike_there) = searched(ours, encoder), searched(theirs, encoder)
  assert alike == alike_there
  assert found.keys() == wanted.keys()
  for key, score in found.items():
    assert score == pytest.approx(wanted[key], abs=1e-5)


EDITS = st.lists(
  st.lists(
    st.tuples(st.sampled_from(['change', 'remove', 'add', 'copy', 'move']), st.integers(0, 30)), min_size=1, max_size=4
  ),
  min_size=1,
  max_size=3,
)


def edited(pages, edits, edition):
  by_id = {page.id: page for page in pages}
  for kind, number in edits:
    id_ = f'page-{number}'
    page = by_id.get(id_)
    if kind == 'add':
      by_id[f'new-{number}'] = Page(f'new-{number}', f'New {number}', f'Second edition of mail, code_{number}. ' * 9)
    elif page is None:
      continue
    elif kind == 'change':
      by_id[id_] = dataclasses.replace(page, text=page.text.replace('first', f'second {edition}'))
    elif kind == 'copy':  # a near duplicate
      by_id[f'copy-{number}'] = dataclasses.replace(page, id=f'copy-{number}')
    elif kind == 'move':  # the same chunks under another folder
      by_id[id_] = dataclasses.replace(page, folder='elsewhere')
    elif len(by_id) > 12:
      del by_id[id_]
  return list(by_id.values())


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(EDITS)
def test_any_updates_are_a_rebuild(built, pages, encoder, tmp_path, updates):
  folder = tmp_path / 'store'
  shutil.rmtree(folder, ignore_errors=True)
  shutil.copytree(built, folder)
  now = pages
  for edition, edits in enumerate(updates):
    now = edited(now, edits, edition)
    build_store(now, folder, encoder, CONFIG)
  assert len(list(folder.glob('generation-??????'))) == 1
  assert_is_a_rebuild(folder, now, encoder, tmp_path / 'fresh')


def test_one_page_embeds_only_what_is_new_and_the_rest_is_not_read(built, pages, encoder, tmp_path):
  folder = shutil.copytree(built, tmp_path / 'store')
  before = {path: path.stat().st_mtime_ns for path in folder.rglob('*') if path.is_file()}
  changed = dataclasses.replace(pages[3], text=pages[3].text + '\n\n## More\n\nOf the same, in other words.\n')
  difference = update_store(folder, [changed, pages[4]], ['page-7'], encoder, CONFIG)
  assert (difference.added, difference.changed, difference.removed) == (0, 1, 1)
  assert 0 < difference.embedded <= 2
  now = [page for page in pages if page.id not in ('page-3', 'page-7')]
  assert_is_a_rebuild(folder, [*now, changed], encoder, tmp_path / 'fresh')
  assert difference.chunks == open_store(folder).num_chunks
  assert all(path.stat().st_mtime_ns == when for path, when in before.items())
  assert update_store(folder, [changed], [], encoder, CONFIG).changed == 0


def test_a_log_that_has_grown_becomes_a_generation(built, pages, encoder, tmp_path, monkeypatch):
  folder = shutil.copytree(built, tmp_path / 'store')
  changed = dataclasses.replace(pages[3], text=pages[3].text.replace('first', 'second'))
  update_store(folder, [changed], [], encoder, CONFIG)
  monkeypatch.setattr(build, '_LOGGED', 0.02)
  difference = update_store(folder, [], ['page-5'], encoder, CONFIG)
  assert difference.embedded == 0  # what the log has is taken from there
  opened = open_store(folder, encoder)
  assert (opened.folder.name, opened.num_logged) == ('generation-000002', 0)
  assert_is_a_rebuild(folder, [*pages[:3], *pages[4:5], *pages[6:], changed], encoder, tmp_path / 'fresh')


def test_an_update_that_was_killed_anywhere_is_there_whole_or_not_at_all(built, pages, encoder, tmp_path):
  folder = shutil.copytree(built, tmp_path / 'store')
  first = dataclasses.replace(pages[3], text='one. ' * 20)
  second = dataclasses.replace(pages[4], text='two. ' * 20)
  update_store(folder, [first], [], encoder, CONFIG)
  log = open_store(folder).folder / changes.LOG
  whole = log.stat().st_size
  update_store(folder, [second], [], encoder, CONFIG)
  content = log.read_bytes()
  for size in range(whole, len(content), 97):
    log.write_bytes(content[:size])
    texts = {page.id: page.text for page in open_store(folder, search=False).pages()}
    assert (texts['page-3'], texts['page-4']) == (first.text, pages[4].text)
  update_store(folder, [second], [], encoder, CONFIG)  # cuts off the half record
  assert log.read_bytes() == content


def test_a_flipped_byte_in_the_log_is_named(built, pages, encoder, tmp_path):
  folder = shutil.copytree(built, tmp_path / 'store')
  update_store(folder, [dataclasses.replace(pages[3], text='one. ' * 20)], [], encoder, CONFIG)
  log = open_store(folder).folder / changes.LOG
  content = bytearray(log.read_bytes())
  content[len(content) // 2] ^= 1
  log.write_bytes(content)
  with pytest.raises(UserError, match=r'changes\.log is damaged in the record at byte 0'):
    open_store(folder, encoder)


def test_what_cannot_be_is_refused(built, pages, encoder, tmp_path):
  folder = shutil.copytree(built, tmp_path / 'store')
  with pytest.raises(UserError, match="page 'page-99' cannot be removed: no such"):
    update_store(folder, [], ['page-99'], encoder, CONFIG)
  with pytest.raises(UserError, match="page 'page-1' cannot be removed: it is changed too"):
    update_store(folder, [pages[1]], ['page-1'], encoder, CONFIG)
  with pytest.raises(UserError, match='no page to index'):
    update_store(folder, [], [page.id for page in pages], encoder, CONFIG)
  with pytest.raises(UserError, match='built with other settings'):
    update_store(folder, [], [], encoder, BuildConfig())
