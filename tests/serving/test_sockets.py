"""A server behind a real socket, where a client can be cut off."""

import http.client
import socket
import threading

import pytest
import uvicorn

from mlsd_jax.serving import Limits, Services, create_app


@pytest.fixture
def port():
  """Of a server whose requests may have 1,000 bytes."""
  with socket.create_server(('127.0.0.1', 0)) as listener:
    config = uvicorn.Config(create_app(Services(), Limits(max_body_bytes=1000)), log_level='error')
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize('is_chunked', [False, True])
def test_who_sends_too_much_is_told_so_and_not_cut_off(port, is_chunked):
  connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
  try:
    body = iter([b'x' * 2**16] * 160) if is_chunked else b'x' * 10 * 2**20  # more than the socket's buffers hold
    headers = {'Content-Type': 'application/json', 'Connection': 'close'}  # the server's end follows its answer at once
    connection.request('POST', '/v1/tokenize', body, headers, encode_chunked=is_chunked)
    answer = connection.getresponse()
    assert answer.status == 413
    assert b'a request may have 1,000 bytes' in answer.read()
  finally:
    connection.close()


def test_who_asks_before_sending_is_refused_at_once(port):
  with socket.create_connection(('127.0.0.1', port), timeout=60) as client:
    client.sendall(
      b'POST /v1/tokenize HTTP/1.1\r\nHost: here\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n'
    )
    assert client.recv(1000).startswith(b'HTTP/1.1 413 ')
