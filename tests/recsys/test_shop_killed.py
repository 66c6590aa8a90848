"""A server that is killed (SIGKILL) while events are posted: no acknowledged one is lost, none counts twice."""

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from mlsd_jax.recsys import saved_state
from mlsd_jax.serving import RecommendService, Services, Shop, create_app

SERVER = """
import pathlib, socket, sys, uvicorn
from mlsd_jax.recsys import saved_state
from mlsd_jax.serving import RecommendService, Services, Shop, create_app
state = saved_state.load(sys.argv[1])
opened = Shop(state, pathlib.Path(sys.argv[2]), wall=lambda: state.snapshot.cut + 3600)
services = Services(recommenders={'shop': RecommendService('shop', state, shop=opened)})
with socket.create_server(('127.0.0.1', 0)) as listener:
  print(listener.getsockname()[1], flush=True)
  uvicorn.Server(uvicorn.Config(create_app(services), log_level='error')).run(sockets=[listener])
"""
CLIENTS, KILLED_AFTER = 4, 60
HEADERS = {'Content-Type': 'application/json'}


@pytest.mark.slow
def test_no_acknowledged_event_is_lost_and_none_counts_twice(shop, tmp_path, start_process, within):
  saved_state.save(shop, tmp_path / 'state', {})
  state = saved_state.load(tmp_path / 'state')
  folder = tmp_path / 'live'
  process = start_process(
    [sys.executable, '-c', SERVER, str(tmp_path / 'state'), str(folder)],
    env=os.environ | {'JAX_NUM_CPU_DEVICES': '1'}, stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  port = int(process.stdout.readline())
  sent, acknowledged = [], []
  users, items = state.users['id'].to_list(), state.items['id'].to_list()

  def event(client, number):
    return {'user': users[number % 7], 'item': items[number % 5], 'id': f'{client} {number}'}

  def post(client):
    """One event or a list at a time, until nobody answers."""
    number = 0
    with contextlib.suppress(OSError, http.client.HTTPException):
      connection = http.client.HTTPConnection('127.0.0.1', port, timeout=within(120))
      while True:
        events = [event(client, number + i) for i in range(1 + number % 3)]
        number += len(events)
        sent.extend(events)
        connection.request('POST', '/v1/events', json.dumps(events[0] if len(events) == 1 else events), HEADERS)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        assert json.loads(answer.read())['repeated'] == 0
        acknowledged.extend(events)
        if client == 0 and len(acknowledged) >= KILLED_AFTER:
          process.send_signal(signal.SIGKILL)  # the others are in the middle of something

  with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
    for each in [pool.submit(post, client) for client in range(CLIENTS)]:
      each.result()
  assert process.wait(within(30)) == -signal.SIGKILL

  count = lambda client: sum(len(client.get(f'/v1/users/{user}?limit=1000').json()['history']) for user in users[:7])
  apps = {
    'before': Services(recommenders={'shop': RecommendService('shop', state)}),
    'after': Services(
      recommenders={
        'shop': RecommendService('shop', state, shop=Shop(state, folder, wall=lambda: state.snapshot.cut + 3600))
      }
    ),
  }
  with TestClient(create_app(apps['before'])) as client:
    before = count(client)
  with TestClient(create_app(apps['after'])) as client:
    assert len(acknowledged) <= count(client) - before <= len(sent)
    again = client.post('/v1/events', json=acknowledged).json()
    assert again['repeated'] == len(acknowledged)
    client.post('/v1/events', json=sent)  # as whoever got no answer does
    assert count(client) - before == len(sent)
