"""A file that can be made again is made once, and again where it is damaged."""

from mlsd_jax.sealed import cached_file


def test_made_once_and_anew_if_damaged(tmp_path, check_flips, caplog):
  path, made = tmp_path / 'cache' / 'corpus.jsonl', []

  def make(target):
    made.append(target)
    target.write_text('the corpus\n')

  read = lambda: cached_file(path, make).read_text()
  assert (read(), read(), len(made)) == ('the corpus\n', 'the corpus\n', 1)
  assert 'corpus.jsonl' in check_flips(path.parent, read)
  path.write_text('the c0rpus\n')
  caplog.clear()
  assert read() == 'the corpus\n'
  assert caplog.messages == [f'{path} does not match its checksum: it is made anew']
  path.unlink()
  assert read() == 'the corpus\n'
  assert sorted(other.name for other in path.parent.iterdir()) == ['corpus.jsonl', 'corpus.jsonl.sha256.json']


def test_one_of_an_earlier_release_is_made_anew_without_a_word(tmp_path, caplog):
  (tmp_path / 'old').write_text('who knows')
  assert cached_file(tmp_path / 'old', lambda target: target.write_text('known')).read_text() == 'known'
  assert not caplog.messages
