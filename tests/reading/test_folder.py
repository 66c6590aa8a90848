"""A folder's files, and none from outside of it."""

import os

from mlsd_jax import reading


def test_links_are_followed_inside_and_named_where_they_lead_out(tmp_path):
  outside, root = tmp_path / 'outside', tmp_path / 'root'
  (outside / 'below').mkdir(parents=True)
  (root / 'a').mkdir(parents=True)
  (root / '.hidden').mkdir()
  for path in (outside / 'secret.md', outside / 'below' / 'x.md', root / 'a' / 'b.md', root / '.hidden' / 'c.md'):
    path.write_text('words')
  (root / 'same.md').symlink_to(root / 'a' / 'b.md')
  (root / 'out.md').symlink_to(outside / 'secret.md')
  (root / 'folder').symlink_to(outside)
  (root / 'again').symlink_to(root)
  (root / 'chain.md').symlink_to(root / 'out.md')
  (root / 'gone.md').symlink_to(root / 'nothing')
  (root / 'circle.md').symlink_to(root / 'circle.md')
  (root / 'a.md').write_text('words')
  lines = []
  assert [name for _, name in reading.files_below(root, lines.append)] == ['a/b.md', 'a.md', 'same.md']
  told = {line.split(' is a link')[0].rpartition('/')[2]: line for line in lines}
  assert set(told) == {'out.md', 'folder', 'chain.md', 'gone.md', 'circle.md'}
  assert 'leads out of the folder' in told['chain.md']
  assert 'leads nowhere' in told['gone.md']
  lines.clear()
  followed = [name for _, name in reading.files_below(root, lines.append, links=True)]
  assert followed == ['a/b.md', 'a.md', 'chain.md', 'out.md', 'same.md']


def test_a_link_may_be_the_folder_itself(tmp_path):
  (tmp_path / 'real').mkdir()
  (tmp_path / 'real' / 'a.md').write_text('words')
  (tmp_path / 'link').symlink_to(tmp_path / 'real')
  assert [name for _, name in reading.files_below(tmp_path / 'link', print)] == ['a.md']


def test_a_folder_that_cannot_be_listed_is_named(tmp_path, monkeypatch):
  (tmp_path / 'closed').mkdir()
  (tmp_path / 'a.md').write_text('words')
  listed = os.scandir

  def scandir(path):
    if str(path).endswith('closed'):
      raise PermissionError(13, 'Permission denied', str(path))
    return listed(path)

  monkeypatch.setattr(os, 'scandir', scandir)
  lines = []
  assert [name for _, name in reading.files_below(tmp_path, lines.append)] == ['a.md']
  assert lines == [f'left out: cannot read {tmp_path}/closed: Permission denied']


def test_kinds_are_counted():
  names = ['a/b.py', 'c.PY', 'd.ts', 'README', 'x.tar.gz']
  assert reading.by_suffix(names) == '2 .py, 1 .ts, 1 without a suffix, 1 .gz'
