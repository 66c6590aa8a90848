"""Programs over HTTP: verdicts case by case, within limits, and not at all where the cage is not whole."""

import asyncio
import json

import pytest
from starlette.testclient import TestClient

from mlsd_jax.algorithms.pool import Pool
from mlsd_jax.algorithms.practice import contest_problems
from mlsd_jax.errors import UserError
from mlsd_jax.serving import Services, create_app
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.judge_service import JudgeService

RIGHT = contest_problems()['2044/A'].read_text()
CACHE = """
class LRUCache:
  def __init__(self, capacity):
    self.capacity, self.values = capacity, {}
  def get(self, key):
    if key not in self.values: return -1
    self.values[key] = self.values.pop(key)
    return self.values[key]
  def put(self, key, value):
    self.values.pop(key, None)
    self.values[key] = value
    while len(self.values) > max(self.capacity, 0): del self.values[next(iter(self.values))]
"""


@pytest.fixture(scope='module')
def judge():
  try:
    return JudgeService.open(max_waiting=2)
  except UserError as error:
    pytest.skip(f'{error}')


@pytest.fixture(scope='module')
def client(judge):
  with TestClient(create_app(Services(judges={'judge': judge})), raise_server_exceptions=False) as client:
    yield client


def verdicts(client, problem, source, **fields):
  told = client.post('/v1/judge', json={'problem': problem, 'source': source, **fields}).json()
  return told['verdict'], [each['verdict'] for each in told['cases']]


def test_programs_get_a_verdict_case_by_case(client):
  verdict, cases = verdicts(client, '2044/A', RIGHT)
  assert verdict == 'AC'
  assert cases == ['AC'] * len(cases)
  assert len(cases) >= 2
  verdict, cases = verdicts(client, '2044/A', 'print(1)')
  assert (verdict, set(cases) - {'AC'}) == ('WA', {'WA'})  # and every case is told, not the first alone
  assert verdicts(client, 'lru_cache', CACHE) == ('AC', ['AC'] * 3)
  wrong = CACHE.replace('self.values[key] = self.values.pop(key)', 'pass')
  assert verdicts(client, 'lru_cache', wrong)[0] == 'WA'


@pytest.mark.parametrize(
  ('source', 'verdict'),
  [
    ('def', 'CE'),
    ('raise SystemExit(3)', 'RE'),
    ('import os\nwhile True: os.fork()', 'RE'),
    ('x = bytearray(1 << 30)\nfor i in range(0, 1 << 30, 4096): x[i] = 1', 'MLE'),
    ('while True: print("x" * 65536)', 'OLE'),
    ('print(open("/etc/hostname").read())', 'RE'),
    ('import socket; socket.create_connection(("127.0.0.1", 80))', 'RE'),
  ],
)
def test_what_a_program_may_not_is_a_verdict(client, source, verdict):
  assert verdicts(client, '2044/A', source)[0] == verdict


def test_a_compiler_is_told_without_what_stands_around_it(client):
  told = client.post('/v1/judge', json={'problem': '2044/A', 'source': 'x = (\n'}).json()
  assert told['compile_error'].startswith('File "solution.py", line 1')
  assert told['compile_error'].endswith("SyntaxError: '(' was never closed")
  assert told['cases'] == []


def test_problems_are_told_without_their_answers(client):
  told = client.get('/v1/judge').json()
  named = {each['name']: each for each in told['problems']}
  assert named['2044/A']['samples'][0]['input']
  assert 'ordered pairs' in named['2044/A']['statement']
  assert named['lru_cache']['start'].startswith('class LRUCache:\n  def __init__(self, capacity):\n    pass\n')
  assert 'move_to_end' not in str(told)
  assert 'python' in told['languages']


@pytest.mark.parametrize(
  ('body', 'status', 'message'),
  [
    ({'problem': '1/Z', 'source': 'x'}, 404, 'no problem'),
    ({'problem': '../design/lru_cache', 'source': 'x'}, 404, 'no problem'),
    ({'problem': 'lru_cache', 'source': 'x', 'language': 'c'}, 400, 'a class in Python'),
    ({'problem': '2044/A', 'source': ''}, 400, 'source'),
    ({'problem': '2044/A', 'source': 'x' * 2**17}, 400, 'source'),
    ({'problem': '2044/A', 'source': '\ud800'}, 400, 'source'),
    ({'problem': '2044/A', 'source': 'x', 'language': 'perl'}, 400, 'language'),
    ({'problem': '2044/A', 'source': '#!/usr/bin/python2\n'}, 400, 'solution.py is written for Python 2'),
  ],
)
def test_what_cannot_be_judged_is_one_line(client, body, status, message):
  answer = client.post('/v1/judge', content=json.dumps(body), headers={'Content-Type': 'application/json'})
  assert answer.status_code == status
  said = answer.json()['error']['message']
  assert message in said
  assert '/tmp' not in said


def test_too_many_programs_are_refused_and_the_rest_judged(judge, client):
  async def submit():
    work = [judge.judge('2044/A', RIGHT, 'python') for _ in range(4)]
    return await asyncio.gather(*work, return_exceptions=True)

  told = asyncio.run(submit())
  assert [each['verdict'] for each in told[:2]] == ['AC', 'AC']
  assert [(type(each), each.status, each.retry_after) for each in told[2:]] == [(ApiError, 429, 5)] * 2
  assert judge.waiting == 0


def test_it_is_off_unless_it_is_turned_on_and_never_without_a_layer():
  with TestClient(create_app(Services()), raise_server_exceptions=False) as client:
    for answer in (client.get('/v1/judge'), client.post('/v1/judge', json={'problem': 'a', 'source': 'x'})):
      assert answer.status_code == 404
      assert 'the judge is off here' in answer.json()['error']['message']
  with pytest.raises(UserError, match='only where its cage is whole, and here it is without a filter: no ptrace'):
    JudgeService.open(pool=Pool(1, without=('seccomp',)))
