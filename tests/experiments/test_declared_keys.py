"""The keys that a mode declares are those that it reads: every mode of every experiment, on little data."""

import pathlib

import pytest

from experiments import algorithms, encoder, gpt2, makemore, micrograd, mingpt, recsys, retrieval, tokenizer
from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.models import bert
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer
from mlsd_jax.training import devices
from tests.experiments.recording import calls_of

pytestmark = pytest.mark.slow


def config(**values):
  """Options of a section or of the whole: config('train', steps=2)."""
  return [f'--config.{key.replace("__", ".")}={value}' for key, value in values.items()]


TRAINER = config(
  train__steps=2, train__batch_size=8, train__log_every=1, train__eval_every=2, train__checkpoint_every=2,
  train__steps_per_dispatch=1, train__optimizer__warmup_steps=0,
)  # fmt: skip
GPT = config(
  data__source='song.txt', data__tokenizer='char', data__split='contiguous',
  model__context_length=16, model__num_layers=1, model__num_heads=1, model__embed_dim=8,
)  # fmt: skip
SAMPLE = config(sample__max_new_tokens=2, sample__num_samples=1)
RUNG = '--config.rungs.one_head.model.'
MINGPT = [
  *config(data__source='song.txt', max_steps=2, climb="('one_head',)", train__eval_every=2),
  *(*SAMPLE, f'{RUNG}context_length=8', f'{RUNG}embed_dim=8'),
]
PROBLEM = dict(model__num_layers=1, model__num_heads=1, model__embed_dim=8, train__batch_size=8)
ADDER = config(max_steps=2, adder__test_digits='(1,)', adder__test_sums=4) + config(
  **{f'adder__{name}': value for name, value in PROBLEM.items()}
)
SORT = config(max_steps=2, sort__test_examples=4) + config(
  **{f'sort__{name}': value for name, value in PROBLEM.items()}
)
SEQ2SEQ = config(max_steps=2, seq2seq__test_examples=4, seq2seq__model__feedforward_dim=8) + config(
  **{f'seq2seq__{name}': value for name, value in PROBLEM.items()}
)
NAMES = config(data__source='rivers.txt')
LADDER = config(ladder="('bigram',)", sample__number=3, sample__shown=1, train__steps=2, train__steps_per_dispatch=1)
MOONS = config(datasets="('moons',)", moons__steps=2, moons__points=6, moons__hidden='(2,)', gif_frames=1)
OF_SONG = config(data__source='song.txt', data__workers=1)
COMPARED = [f'--config.language_model.{name}={value}' for name, value in dict(
  tokenizers="('bytes',)", teraflops=1e-6, context_length=16, num_layers=1, num_heads=1, embed_dim=8, batch_size=8,
  split='contiguous',
).items()]  # fmt: skip
SMALL = config(encoder__name='small', encoder__max_length=64)
INDEX = config(data__source='docs', chunk__max_tokens=60, chunk__min_tokens=10, chunk__overlap=0)
PAIRS = config(pairs__min_words=5, pairs__too_near=9.0, pairs__negatives=1, train__accumulation=1)
SHOP = config(
  data__synthetic__num_users=200, data__synthetic__num_items=150, data__synthetic__weeks=12, data__synthetic__tastes=6
)
FUNNEL = config(funnel__weeks=1)
TINY = config(
  funnel__keep=20, funnel__group=8, tower__model__embed_dim=8, tower__model__history_length=4,
  tower__model__sequence_length=2, tower__factors=4, tower__refresh=1, tower__refresh_steps=1, serve__requests=1,
) + [
  argument.replace('config.', f'config.{stage}.')
  for stage in ('tower', 'ranker')
  for argument in TRAINER
  if 'eval_every' not in argument
]  # fmt: skip
SYNTHETIC = '--config=configs/recsys/synthetic.py'
LRU = '--problem=lru_cache'
CALLS = {
  gpt2: [
    [*GPT, *TRAINER, *SAMPLE],
    ['--mode=evaluate'],
    ['--mode=sample', *SAMPLE],
    ['--mode=export'],
    ['--mode=import', '--init_from=w', '--workdir=imported'],
    ['--init_from=w', '--workdir=tuned', *TRAINER, *SAMPLE, *GPT[:1], *GPT[2:4]],
  ],
  mingpt: [
    ["--config.parts=('ladder',)", *MINGPT],
    ['--mode=explain', '--config.explain.text=green'],
    ['--mode=sample', *SAMPLE],
    ['--mode=adder', '--workdir=a', *ADDER],
    ['--mode=sort', '--workdir=s', *SORT],
    ['--mode=seq2seq', '--workdir=q', *SEQ2SEQ],
    ["--config.parts=('sort',)", '--workdir=p', *SORT],
  ],
  makemore: [
    [*NAMES, *LADDER],
    ['--mode=sample'],
    ['--mode=score', '--word=malo'],
    ['--mode=search', '--workdir=s', *NAMES, *config(search__trials=2, search__steps=2, search__batch_size=4)],
    ['--mode=diagnose', '--workdir=d', *NAMES, '--config.diagnose.steps=2'],
  ],
  micrograd: [MOONS],
  tokenizer: [
    [*OF_SONG, '--config.vocab_size=280', '--config.compare=()'],
    ['--mode=show', '--text=green'],
    ['--mode=analyse'],
    ['--mode=compare', '--workdir=c', OF_SONG[0], *COMPARED],
  ],
  retrieval: [
    [*INDEX, *SMALL],
    ['--mode=ask', '--query=copy a folder'],
    ['--mode=evaluate', '--config.search.rerank=0'],
    ['--mode=tune'],
    ['--mode=tensorboard'],
    ['--mode=update'],
  ],
  encoder: [
    ['--workdir=e', '--config.data.source=w', *SMALL, *PAIRS, *TRAINER, '--config.cross_encoder.length=32'],
    ['--workdir=e', '--mode=evaluate'],
  ],
  recsys: [
    ['--mode=prepare', SYNTHETIC, *SHOP, *FUNNEL],
    [SYNTHETIC, *SHOP, *FUNNEL, *TINY],
    ['--mode=evaluate'],
    ['--mode=recommend', '--user=u1'],
    ['--mode=submit'],
    ['--mode=simulate', SYNTHETIC, *SHOP, '--workdir=s'],
  ],
  algorithms: [
    ['--config.operations=40'],
    ['--mode=test', LRU, '--config.operations=40', '--workdir=t'],
    ['--mode=test', '--problem=samples', '--solution=same.py', '--workdir=t'],
    ['--mode=new', '--contest=9', '--problems=A'],
    ['--mode=stress', '--solution=same.py', '--trusted=same.py', '--generator=same.py', '--config.rounds=1'],
    ['--mode=prove', LRU, '--config.prove_operations=40'],
    ['--mode=growth', LRU],
  ],
}

# An index of few chunks is searched exactly, and the mode says that there is nothing to tune in it.
OF_LARGE_DATA = {'tune.k', 'tune.recall'}


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  lines = [f'{i} green bottles hanging on the wall, and if {i % 7} should fall.' for i in range(300)]
  pathlib.Path('song.txt').write_text('\n'.join(lines))
  syllables = ['ma', 'lo', 'ri', 'ten']
  pathlib.Path('rivers.txt').write_text('\n'.join(a + b + c for a in syllables for b in syllables for c in syllables))
  same = 'import sys\nprint(*sys.argv[1:], sys.stdin.read() if len(sys.argv) < 2 else "")\n'
  pathlib.Path('same.py').write_text(same)
  pathlib.Path('samples').mkdir()
  pathlib.Path('samples', '1.in').write_text('2\n')
  pathlib.Path('samples', '1.out').write_text('2\n')
  return tmp_path


@pytest.fixture
def pages(folder):
  docs = folder / 'docs'
  docs.mkdir()
  subjects = ['copy all the files of a folder', 'unpack compressed archives', 'send mail', 'parse dates', 'sort a list']
  for subject in subjects:
    text = f'How to {subject} is what this page says, in a few words and with some examples of it. '
    parts = [f'\n## Part {i} on how to {subject}\n\n{text * 2} This is part {i}.\n' for i in range(5)]
    (docs / f'{subject.split()[0]}.md').write_text(f'# How to {subject}\n' + ''.join(parts))
  pieces = WordPieceTokenizer.train([path.read_text() for path in docs.iterdir()], 200)
  small = bert.BertConfig(
    vocab_size=pieces.vocab_size, context_length=64, num_layers=1, num_heads=1, embed_dim=8, mlp_dim=8
  )
  fresh_encoder('small', small, pieces).save(folder / 'small')


@pytest.mark.parametrize('experiment', CALLS, ids=lambda experiment: experiment.__name__.split('.')[-1])
def test_each_mode_reads_the_keys_that_it_declares(experiment, folder, request, capsys):
  if experiment in (retrieval, encoder):
    request.getfixturevalue('pages')
  if experiment is encoder:
    assert retrieval.main(['--workdir=w', *INDEX, *SMALL]) == 0
  with calls_of(experiment) as made:
    for arguments in CALLS[experiment]:
      assert experiment.main(['--workdir=w', *arguments]) == 0, capsys.readouterr().err
  assert {call.mode for call in made} == {*experiment.MODES}
  for call in made:
    assert sorted(call.read - call.declared - {'data.path'}) == [], f'{call.mode} reads what it does not declare'
    unread = call.declared - call.idle - call.read - OF_LARGE_DATA
    assert sorted(unread) == [], f'{call.mode} declares what it does not read'
