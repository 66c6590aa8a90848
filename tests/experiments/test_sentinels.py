"""Values that stand for another one (0, '', -1) come to the same as the value that they stand for."""

import json
import pathlib

import pytest

from experiments import gpt2, makemore, mingpt, recsys, retrieval
from tests.experiments.tiny_runs import (
  FUNNEL,
  GPT,
  INDEX,
  LADDER,
  MINGPT,
  NAMES,
  SAMPLE,
  SHOP,
  SMALL,
  SYNTHETIC,
  TINY,
  TRAINER,
  config,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def run(folder, capsys):
  """run(experiment, workdir, *arguments) -> (its result.json, what it printed)."""

  def run(experiment, workdir, *arguments):
    assert experiment.main([f'--workdir={workdir}', *arguments]) == 0, capsys.readouterr().err
    return json.loads(pathlib.Path(workdir, 'result.json').read_text()), capsys.readouterr().out

  return run


def test_of_a_training_a_sample_and_an_evaluation_of_gpt2(run):
  stand_in = config(
    data__workers=0, data__folder='', train__mesh__data=-1, train__optimizer__clip_norm=0,
    train__optimizer__decay_steps=0,
  )  # fmt: skip
  plain = config(
    data__workers=1, data__folder='shards', train__mesh__data=8, train__optimizer__clip_norm=1e9,
    train__optimizer__decay_steps=2,
  )  # fmt: skip
  first, _ = run(gpt2, 'stand_in', *GPT, *TRAINER, *SAMPLE, *stand_in)
  second, _ = run(gpt2, 'plain', *GPT, *TRAINER, *SAMPLE, *plain)
  assert first['val_loss'] == second['val_loss']
  sample = lambda **values: run(gpt2, 'plain', '--mode=sample', *SAMPLE[:1], *config(**values))[1]
  assert sample(sample__temperature=0, sample__seed=1) == sample(sample__top_k=1, sample__seed=2)
  drawn = dict(sample__seed=3, sample__temperature=1.0)
  assert sample(sample__top_k=0, sample__min_p=0, **drawn) == sample(sample__top_k=10**6, sample__min_p=1e-9, **drawn)
  judged = lambda stride: run(gpt2, 'plain', '--mode=evaluate', f'--config.evaluate.stride={stride}')[1]
  assert judged(0) == judged(16)


def test_a_rate_below_0_is_a_fiftieth_of_a_rungs_own(run):
  final = lambda rate: f'--config.train.optimizer.final_learning_rate={rate}'
  rates = [f'--config.models.bigram.learning_rate={0.5}']
  first, _ = run(makemore, 'stand_in', *NAMES, *LADDER, *rates, final(-1))
  second, _ = run(makemore, 'plain', *NAMES, *LADDER, *rates, final(0.01))
  other, _ = run(makemore, 'other', *NAMES, *LADDER, *rates, final(0.4))
  assert first['val_loss'] == second['val_loss'] != other['val_loss']


def test_the_top_rung_and_no_cap_of_steps(run):
  run(mingpt, 'w', "--config.parts=('ladder',)", *MINGPT)
  sample = lambda rung: run(mingpt, 'w', '--mode=sample', f'--config.sample.rung={rung}')[1]
  explain = lambda rung: run(
    mingpt, 'w', '--mode=explain', '--config.explain.text=green', f'--config.explain.rung={rung}'
  )
  assert sample('') == sample('one_head')
  assert explain('') == explain('one_head')
  steps = [option for option in MINGPT if 'max_steps' not in option]
  uncapped = [
    '--config.max_steps=0',
    '--config.rungs.one_head.train.steps=2',
    '--config.train.optimizer.warmup_steps=1',
  ]
  first, _ = run(mingpt, 'uncapped', "--config.parts=('ladder',)", *steps, *uncapped)
  assert first['val_loss'] == json.loads(pathlib.Path('w/result.json').read_text())['val_loss']


def test_all_queries_of_a_collection(run, pages):
  run(retrieval, 'w', *INDEX, *SMALL)
  judged = lambda number: run(retrieval, 'w', '--mode=evaluate', f'--config.evaluate.max_queries={number}')[0]
  assert judged(0)['ndcg@10'] == judged(10**6)['ndcg@10']


def test_a_recommender_without_what_can_be_left_out(run):
  without = config(
    funnel__users=0, ranker__model__bag_length=0, ranker__model__bins=0, tower__refresh=0,
    ranker__train__optimizer__clip_norm=0, ranker__train__mesh__data=-1,
  )  # fmt: skip
  tiny = [option for option in TINY if 'tower.refresh=' not in option and 'sequence_length' not in option]
  result, _ = run(recsys, 'w', SYNTHETIC, *SHOP, *FUNNEL, *tiny, *without, '--config.tower.model.sequence_length=0')
  assert 0 < result['map@12']['ranker'] <= 1
  assert result['tower_checkpoint_step'] == result['ranker_checkpoint_step'] == 2
