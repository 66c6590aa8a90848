"""A contest's folder: whose samples a program is judged on, and what fills them."""

import http.client
import json
import pathlib
import threading

import pytest

from mlsd_jax.algorithms import contest_folder
from mlsd_jax.algorithms.verdicts import Case
from mlsd_jax.errors import UserError


@pytest.fixture
def folder(tmp_path):
  contest_folder.new_contest(tmp_path / '9999', ['A', 'B'])
  for name, text in {'A.in': '1', 'A.out': '2', 'A2.in': '3', 'A2.out': '4', 'B.in': '5', 'B.out': '6'}.items():
    (tmp_path / '9999' / name).write_text(text)
  return tmp_path


def test_a_program_is_judged_on_its_own_samples(folder):
  names = lambda cases: [case.name for case in cases]
  for name in ('9999/A', '9999/a', str(folder / '9999' / 'A')):
    programs, cases = contest_folder.find(name, folder)
    assert (programs, names(cases)) == ([folder / '9999' / 'A.py'], ['A', 'A2'])
  assert names(contest_folder.cases_for(folder / '9999', pathlib.Path('elsewhere/B.cpp'))) == ['B']
  (folder / '9999' / 'A.cpp').touch()
  assert contest_folder.find('9999/A', folder)[0] == [folder / '9999' / 'A.cpp']  # A.py is as it was laid out
  (folder / '9999' / 'A.py').write_text('print(2)')
  for name, found in {'A': ['A.cpp', 'A.py'], 'A.py': ['A.py'], 'A.in': ['A.cpp', 'A.py'], 'A.cpp': ['A.cpp']}.items():
    programs, cases = contest_folder.find(f'9999/{name}', folder)
    assert ([each.name for each in programs], names(cases)) == (found, ['A', 'A2'])
  assert contest_folder.find('9999/C', folder) is None
  assert contest_folder.find('9999/C.py', folder) is None
  (folder / '9999' / 'D.py').touch()
  for name in ('9999/D', '9999/d', '9999/D.py'):
    with pytest.raises(UserError, match=r'D\.py has no samples: put D\.in and D\.out beside it'):
      contest_folder.find(name, folder)
  with pytest.raises(UserError, match=r'has samples of A, B; name one of them: --problem=.*9999/A'):
    contest_folder.cases_for(folder / '9999', pathlib.Path('mine.py'))
  (folder / '9999' / 'B.in').write_text('')
  (folder / '9999' / 'B.out').write_text('')
  with pytest.raises(UserError, match=r'B\.in and B\.out are empty: fill in a sample'):
    contest_folder.find('9999/B', folder)


def test_files_of_cph_fill_samples(folder):
  """What is there stays; a letter comes from the name, the address, or is the next that is free."""
  problems = [
    {'name': 'C1. Sums', 'tests': [{'input': '1\n', 'output': '1\n'}, {'input': '2\n', 'output': '2\n'}]},
    {'name': 'Sums', 'url': 'https://x.org/contest/9/problem/D', 'tests': [{'input': 'd', 'output': 'd'}]},
    {'name': 'Sums', 'url': 'https://x.org/contests/abc/tasks/abc_e', 'tests': [{'input': 'e', 'output': 'e'}]},
    {'name': 'A. Old', 'tests': [{'input': 'new', 'output': 'new'}]},
    {'name': 'G - Not', 'tests': []},
    {'name': 'No letter', 'tests': []},
    {'name': 'X-Ray Vision', 'tests': [{'input': 'x', 'output': 'x'}]},
  ]
  for number, problem in enumerate(problems):
    (folder / f'{number}.prob').write_text(json.dumps(problem))
  found = [contest_folder.fill(folder / '9999', each)[0] for each in contest_folder.read_problems(folder)]
  assert found == ['C1', 'D', 'E', 'A', 'G', 'C', 'C']  # C has no sample yet
  _, cases = contest_folder.find('9999/C1', folder)
  assert [Case.read(case.input) for case in cases] == [b'1\n', b'2\n']
  assert (folder / '9999' / 'A.in').read_text() == '1'
  for text in ('[]', '{}', '{"tests": [1]}', 'nothing', '{"tests": [], "tests": []}'):
    (folder / '0.prob').write_text(text)
    with pytest.raises(UserError):
      contest_folder.fill(folder / '9999', next(contest_folder.read_problems(folder / '0.prob')))


def test_a_browser_fills_samples(folder):
  """As competitive-companion sends them: one request a problem, with the size of the batch; nonsense is refused."""
  seen = []
  with contest_folder.listen(
    0, lambda problem: seen.append(contest_folder.fill(folder / '9999', problem)[0])
  ) as server:

    def send(body):
      connection = http.client.HTTPConnection('127.0.0.1', server.server_port, timeout=60)
      thread = threading.Thread(target=server.handle_request)
      thread.start()
      connection.request('POST', '/', body)
      status = connection.getresponse().status
      thread.join()
      connection.close()
      return status

    problem = {'name': 'F. Last', 'batch': {'id': 'x', 'size': 2}, 'tests': [{'input': '1', 'output': '2'}]}
    assert send('{') == 400
    assert send('{"tests": 3}') == 400
    assert server.received == 0
    assert send(json.dumps(problem)) == 200
    assert (server.received, server.expected, seen) == (1, 2, ['F'])
