"""The keys that a mode declares are those that it reads: every mode of every experiment, on little data."""

import contextlib
import io
import json
import pathlib
import sys
import types

import pytest
import uvicorn

from experiments import algorithms, encoder, gpt2, makemore, micrograd, mingpt, recsys, retrieval, serve, tokenizer
from mlsd_jax.algorithms import contest_folder
from mlsd_jax.tokenizers import ByteTokenizer
from tests.experiments.recording import calls_of
from tests.experiments.tiny_runs import (
  ADDER,
  COMPARED,
  FUNNEL,
  GPT,
  INDEX,
  LADDER,
  MINGPT,
  MOONS,
  NAMES,
  OF_SONG,
  PAIRS,
  SAMPLE,
  SEQ2SEQ,
  SHOP,
  SMALL,
  SORT,
  SYNTHETIC,
  TINY,
  TRAINER,
  config,
)

pytestmark = pytest.mark.slow


LRU = '--problem=lru_cache'
COMPILE = '--mode=compile', '--hardware=8xcpu', '--workdir=n'
TAUGHT = [
  *('--config=configs/gpt2/sft.py:gpt', '--workdir=taught', '--init_from=w', '--config.chat.template=t.jinja'),
  *config(data__source='talks.jsonl', data__val_fraction=0.4, model__context_length=16, train__dtype='float32'),
]
LAW = config(
  scaling__depths='(1, 2)', scaling__width=8, scaling__budgets='(2e8, 3e8, 4e8)', scaling__next_depth=3,
  scaling__next_budget=5e8, train__batch_size=8, train__eval_every=0, train__checkpoint_every=0, train__log_every=0,
)  # fmt: skip
CALLS = {
  gpt2: [
    [*GPT, *TRAINER, *SAMPLE],
    ['--mode=evaluate'],
    ['--mode=sample', *SAMPLE],
    ['--mode=export'],
    ['--mode=chat', '--config.chat.template=t.jinja', *SAMPLE[:1]],
    ['--mode=import', '--init_from=w', '--workdir=imported', '--config.model.context_length=8'],
    ['--init_from=w', '--workdir=tuned', *TRAINER, *SAMPLE, *GPT[:1], *GPT[2:4]],
    [*TAUGHT, *TRAINER, *SAMPLE, '--config.sample.prompt=green'],
    ['--mode=evaluate', '--workdir=taught', '--config.evaluate.answers=2'],
    ['--mode=scaling', '--workdir=l', *LAW, *GPT[:4]],
    [*COMPILE, *GPT[1:2], *GPT[3:], *TRAINER],
  ],
  mingpt: [
    ["--config.parts=('ladder',)", *MINGPT],
    ['--mode=explain', '--config.explain.text=green'],
    ['--mode=sample', *SAMPLE],
    ['--mode=adder', '--workdir=a', *ADDER],
    ['--mode=sort', '--workdir=s', *SORT],
    ['--mode=seq2seq', '--workdir=q', *SEQ2SEQ],
    ["--config.parts=('sort',)", '--workdir=p', *SORT],
    [*COMPILE, "--config.climb=('one_head',)", '--config.max_steps=2', *MINGPT[-2:]],
  ],
  makemore: [
    [*NAMES, *LADDER],
    ['--mode=sample'],
    ['--mode=score', '--word=malo'],
    ['--mode=search', '--workdir=s', *NAMES, *config(search__trials=2, search__steps=2, search__batch_size=4)],
    ['--mode=diagnose', '--workdir=d', *NAMES, '--config.diagnose.steps=2'],
    [*COMPILE, *NAMES, LADDER[0], *LADDER[3:]],
  ],
  micrograd: [MOONS],
  tokenizer: [
    [*OF_SONG, '--config.vocab_size=280', '--config.compare=()'],
    ['--mode=show', '--text=green'],
    ['--mode=analyse'],
    ['--mode=compare', '--workdir=c', OF_SONG[0], *COMPARED],
    ['--mode=prepare', '--config.data.source=rows.jsonl', '--config.shards.val_fraction=0.5'],
  ],
  retrieval: [
    [*INDEX, *SMALL],
    ['--mode=ask', '--query=copy a folder'],
    ['--mode=evaluate', '--config.search.rerank=0'],
    ['--mode=tune'],
    ['--mode=tensorboard'],
    ['--mode=update'],
    ['--mode=shards', '--workdir=h', *INDEX, *SMALL, '--config.shards.number=2'],
    ['--mode=collections', '--workdir=j', *SMALL, '--collections=judged'],
  ],
  encoder: [
    ['--workdir=e', '--config.data.source=w', *SMALL, *PAIRS, *TRAINER, '--config.cross_encoder.length=32'],
    ['--workdir=e', '--mode=evaluate'],
    [*COMPILE, *SMALL, '--config.pairs.negatives=1', *TRAINER, *PAIRS[3:], '--config.cross_encoder.length=32'],
  ],
  recsys: [
    ['--mode=prepare', SYNTHETIC, *SHOP, *FUNNEL],
    [SYNTHETIC, *SHOP, *FUNNEL, *TINY, '--config.funnel.skip=1', '--config.ranker.kind=average'],
    ['--mode=evaluate'],
    ['--mode=backtest'],
    ['--mode=recommend', '--user=u1'],
    ['--mode=submit'],
    ['--mode=simulate', SYNTHETIC, *SHOP, '--workdir=s'],
    ['--mode=ratings', '--workdir=r', '--config.data.path=stars.csv'],
    [*COMPILE, SYNTHETIC, *SHOP, *FUNNEL, *(each for each in TINY if 'serve' not in each)],
  ],
  serve: [[], ['--mode=prepare']],
  algorithms: [
    ['--config.operations=40'],
    ['--mode=test', LRU, '--config.operations=40', '--workdir=t'],
    ['--mode=test', '--problem=samples', '--solution=same.py', '--workdir=t'],
    ['--mode=new', '--contest=9', '--problems=A'],
    ['--mode=listen', '--contest=9', '--port=0'],
    ['--mode=stress', '--solution=same.py', '--trusted=same.py', '--generator=same.py', '--config.rounds=1'],
    ['--mode=prove', LRU, '--config.prove_operations=40'],
    ['--mode=growth', LRU],
  ],
}


@pytest.fixture
def browser(monkeypatch):
  """A browser that sends one problem as soon as somebody listens."""

  def listen(port, receive):
    receive({'name': 'A. Sum', 'tests': [{'input': '1', 'output': '1'}]})
    return contextlib.nullcontext(types.SimpleNamespace(server_port=port, received=1, expected=1))

  monkeypatch.setattr(contest_folder, 'listen', listen)


@pytest.fixture
def runs(monkeypatch):
  """A run to serve, a server that has ended when it begins, and experiments that have run."""
  ByteTokenizer().save(pathlib.Path('runs', 'tokenizer', 'own', 'tokenizer.json'))
  monkeypatch.setattr(uvicorn, 'Config', lambda app, **options: app)
  monkeypatch.setattr(uvicorn.Server, '__init__', lambda self, config: None)
  monkeypatch.setattr(uvicorn.Server, 'run', lambda self, sockets: sockets[0].close())
  monkeypatch.setattr(serve.subprocess, 'run', lambda command, check: types.SimpleNamespace(returncode=0))


def write_judged(folder):
  """A collection of three pages in BEIR's form."""
  (folder / 'qrels').mkdir(parents=True)
  subjects = ('copy a folder', 'send mail', 'parse dates')
  rows = [{'_id': f'd{i}', 'title': each, 'text': f'How to {each}, in words.'} for i, each in enumerate(subjects)]
  (folder / 'corpus.jsonl').write_text('\n'.join(map(json.dumps, rows)))
  asked = [{'_id': f'q{i}', 'text': each} for i, each in enumerate(subjects)]
  (folder / 'queries.jsonl').write_text('\n'.join(map(json.dumps, asked)))
  lines = ['query-id\tcorpus-id\tscore', *(f'q{i}\td{i}\t1' for i in range(3))]
  (folder / 'qrels' / 'test.tsv').write_text('\n'.join(lines) + '\n')


# An index of few chunks is searched exactly, and the mode says that there is nothing to tune in it.
OF_LARGE_DATA = {'tune.k', 'tune.recall'}


@pytest.mark.parametrize('experiment', CALLS, ids=lambda experiment: experiment.__name__.split('.')[-1])
def test_each_mode_reads_the_keys_that_it_declares(experiment, folder, request, capsys, monkeypatch):
  pathlib.Path('t.jinja').write_text('{% for m in messages %}{{ m.content }} {% endfor %}')
  pathlib.Path('talks.jsonl').write_text(
    ''.join(
      f'[{{"role": "user", "content": "green"}}, {{"role": "assistant", "content": "wall {i}"}}]\n' for i in range(20)
    )
  )
  pathlib.Path('rows.jsonl').write_text('\n'.join(f'{{"text": "{i} bottles"}}' for i in range(40)))
  stars = [f'u{i % 20},i{i // 20},{10**9 + i},{1 + i * i % 5}' for i in range(400)]
  pathlib.Path('stars.csv').write_text('\n'.join(('user_id,item_id,time,rating', *stars)))
  write_judged(pathlib.Path('judged'))
  monkeypatch.setattr(sys, 'stdin', io.StringIO('bottles\n'))
  if experiment in (retrieval, encoder):
    request.getfixturevalue('pages')
  if experiment is encoder:
    assert retrieval.main(['--workdir=w', *INDEX, *SMALL]) == 0
  if experiment is algorithms:
    request.getfixturevalue('browser')
  if experiment is serve:
    request.getfixturevalue('runs')
  with calls_of(experiment) as made:
    for arguments in CALLS[experiment]:
      workdir = [] if any(argument.startswith('--workdir') for argument in arguments) else ['--workdir=w']
      assert experiment.main([*workdir, *arguments]) == 0, capsys.readouterr().err
  assert {call.mode for call in made} == {*experiment.MODES}
  for call in made:
    assert sorted(call.read - call.declared - {'data.path'}) == [], f'{call.mode} reads what it does not declare'
    unread = call.declared - call.idle - call.read - OF_LARGE_DATA
    assert sorted(unread) == [], f'{call.mode} declares what it does not read'
