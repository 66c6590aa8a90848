"""The packages that programs use are pointed at the server with a base URL, and nothing else.

They do not install beside each other, nor beside this project: each has an environment of its own, which uv makes.
"""

import json
import os
import pathlib
import shutil
import subprocess
import threading

import numpy as np
import pytest
import uvicorn

from mlsd_jax.serving import Services, TextService, VectorService, create_app
from tests.serving.conftest import CONFIG, TOKENIZER

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(shutil.which('uv') is None, reason='uv makes the environments of the clients'),
]
SCRIPTS = pathlib.Path(__file__).parent / 'clients'
OPENAI = ['openai==3.57.0', 'langchain-openai==1.7.4']
COHERE = ['cohere==7.3.1', 'llama-index-embeddings-text-embeddings-inference']
TEXTS = ['read a folder', 'archives']


@pytest.fixture(scope='module')
def base(params, small_encoder):
  """The address of a server."""
  import socket

  services = Services(
    texts={'gpt': TextService('gpt', params, CONFIG, TOKENIZER, slots=4)},
    vectors={'small': VectorService('small', small_encoder)},
    tokenizers={'bytes': TOKENIZER},
  )
  with socket.create_server(('127.0.0.1', 0)) as listener:
    server = uvicorn.Server(uvicorn.Config(create_app(services), log_level='error'))
    thread = threading.Thread(target=server.run, kwargs={'sockets': [listener]})
    thread.start()
    yield f'http://127.0.0.1:{listener.getsockname()[1]}'
    server.should_exit = True
    thread.join()


def in_environment(packages: list[str], command: list[str], *, within, cwd=None) -> subprocess.CompletedProcess:
  """Runs a command where these packages are installed, and this project is not."""
  options = [option for package in packages for option in ('--with', package)]
  environment = {key: value for key, value in os.environ.items() if key not in ('VIRTUAL_ENV', 'PYTHONPATH')}
  return subprocess.run(
    ['uv', 'run', '--quiet', '--no-project', '--isolated', *options, *command],
    capture_output=True, text=True, env=environment, timeout=within(240), check=False, cwd=cwd,
  )  # fmt: skip


@pytest.fixture
def run_script(base, within):
  """run_script(name, packages) -> the JSON that it printed."""

  def run(name, packages):
    done = in_environment(packages, ['python', str(SCRIPTS / name), base], within=within)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)

  return run


def test_openai_and_langchain(run_script, client, small_encoder):
  asked = {'model': 'gpt', 'prompt': 'copy', 'max_tokens': 8, 'temperature': 0}
  text = client.post('/v1/completions', json=asked).json()['choices'][0]['text']
  seen = run_script('of_openai.py', OPENAI)
  assert {'gpt', 'small'} <= set(seen['models'])
  alike = ('completion', 'streamed', 'langchain', 'langchain streamed')
  assert {seen[name] for name in alike} == {text}
  assert seen['langchain batch'] == [text, text]
  assert len(set(seen['usage'])) == 1
  assert seen['several'][:2] == ['copy' + text] * 2
  assert seen['several'][2] == seen['several'][3]
  assert all(seen['logprobs'])
  expected = small_encoder.encode(TEXTS)
  for name in ('float', 'base64', 'langchain vectors'):
    np.testing.assert_allclose(seen[name], expected, atol=1e-6, err_msg=name)
  refused = seen['refused']
  assert refused['model'][:2] == ['NotFoundError', 404]
  assert 'nobody' in refused['model'][2]
  assert refused['responses'][:2] == ['NotFoundError', 404]
  for name in ('prompt', 'suffix', 'chat', 'token ids'):
    assert refused[name][:2] == ['BadRequestError', 400], name
  assert 'check_embedding_ctx_length=False' in refused['token ids'][2]


def test_cohere_and_llama_index(run_script, small_encoder):
  seen = run_script('of_cohere.py', COHERE)
  assert seen['v1'] == seen['v2']
  assert sorted(index for index, _ in seen['v1']) == [0, 1, 2]
  scores = [score for _, score in seen['v1']]
  assert scores == sorted(scores, reverse=True)
  assert seen['refused'] == 404
  np.testing.assert_allclose(seen['vectors'], small_encoder.encode(TEXTS), atol=1e-6)


def test_no_request_that_the_schema_allows_is_a_fault_of_the_server(base, within, tmp_path):
  command = ['schemathesis', 'run', f'{base}/openapi.json', '--checks=not_a_server_error', '--max-examples=25']
  options = ['--seed=1', '--phases=examples,coverage,fuzzing', '--request-timeout=60', '--generation-deterministic']
  done = in_environment(
    ['schemathesis==4.32.5'], [*command, *options], within=within, cwd=tmp_path
  )  # where it leaves a cache
  assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
