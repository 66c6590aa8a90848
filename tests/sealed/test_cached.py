"""A file that can be made again is made once, and again where it is damaged."""

from mlsd_jax.sealed import cached_file, check_file, delete_file, write_file


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


def test_made_of_something_else_it_is_made_anew_without_a_word(tmp_path, caplog):
  path, made = tmp_path / 'rows', []
  for made_of in ({'size': [1, 2]}, {'size': [1, 2]}, {'size': [1, 3]}):
    cached_file(path, lambda target: made.append(target.write_text('rows')), made_of=made_of)
  assert (len(made), caplog.messages) == (2, [])


def test_a_flip_of_a_file_that_cannot_be_made_again_is_an_error(tmp_path, check_flips):
  path = tmp_path / 'answers'
  write_file(path, lambda target: target.write_text('what was shown'))

  def read():
    check_file(path)
    return path.read_text()

  assert 'answers' in check_flips(tmp_path, read)
  delete_file(path)
  assert list(tmp_path.iterdir()) == []
  path.write_text('of an earlier release')
  assert read() == 'of an earlier release'
