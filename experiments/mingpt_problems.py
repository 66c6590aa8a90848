"""The parts of experiments.mingpt that learn a problem with a right answer: adder, sort, seq2seq.

Each trains in WORKDIR/PART, adds its numbers to result.json, and returns False if it was interrupted.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments import contract
from experiments.mingpt_settings import read_adder, read_seq2seq, read_sort
from mlsd_jax import files
from mlsd_jax.data import algorithmic
from mlsd_jax.data.algorithmic import Addition, Problem, Sorting, held_out_sources
from mlsd_jax.language_model import exact_answers, inspection_charts
from mlsd_jax.language_model import seq2seq as encoder_decoder
from mlsd_jax.models import gpt, transformer
from mlsd_jax.training import distributed
from mlsd_jax.training.config import TrainConfig, free_keys
from mlsd_jax.training.loop import check_settings

# What may change between two sittings of a run: where it runs and what it shows, not what it computes.
FREE = ('parts', 'sample', 'explain', 'data.folder', 'data.workers', 'seq2seq.show', *free_keys('train'))


def adder(run: contract.Run) -> bool:
  """Trains a GPT to add, and asks it for every 2-digit sum (or for sums of several lengths).

  Of sums longer than 2 digits, held-out ones of that length and of each of adder.test_digits are asked for.
  """
  if 'adder_accuracy' in (run.result() or {}):
    run.check(FREE)
    run.print_finished(f'adder: {_adder_line(run.result() or {})}')
    return True
  config = run.config.adder.to_dict()
  problem, lengths, model, train = check_adder(run)
  run.claim(FREE)
  done = exact_answers.train_decoder(problem, model, train, run.workdir / 'adder')
  if done.interrupted:
    return False
  if problem.digits <= 2 and not config['test_digits']:
    sources = problem.all_sources()
    right = exact_answers.right_answers(done.params, model, problem, sources)
    held_out = [problem.is_held_out(source) for source in sources]
    values: dict[str, Any] = {
      'adder_accuracy': float(right.mean()),
      'adder_held_out_accuracy': float(right[held_out].mean()),
      'adder_sums': len(sources),
      'adder_held_out_sums': sum(held_out),
    }
    wrong = [source for source, is_right in zip(sources, right, strict=True) if not is_right]
    if wrong:
      run.print(f'wrong: {" ".join(wrong[:10])}')
  else:
    by_digits = exact_answers.accuracy_by_digits(done.params, model, problem, lengths, config['test_sums'])
    values = {'adder_accuracy': by_digits[str(problem.digits)], 'adder_accuracy_by_digits': by_digits}
  run.write_result(
    values | {'adder_train_seconds': done.train_seconds, 'adder_steps': done.step, **done.origin('adder_')}
  )
  run.print(f'adder: {_adder_line(values | {"adder_train_seconds": done.train_seconds})}')
  return True


def sort(run: contract.Run) -> bool:
  """Trains a GPT to sort digits, and asks it for held-out rows."""
  if 'sort_accuracy' in (run.result() or {}):
    run.check(FREE)
    run.print_finished(f'sort: {(run.result() or {})["sort_accuracy"]:.2%} of held-out rows right')
    return True
  config = run.config.sort.to_dict()
  problem, model, train = check_sort(run)
  run.claim(FREE)
  done = exact_answers.train_decoder(problem, model, train, run.workdir / 'sort')
  if done.interrupted:
    return False
  sources = held_out_sources(problem, config['test_examples'], seed=2)
  accuracy = float(exact_answers.right_answers(done.params, model, problem, sources).mean())
  run.write_result({'sort_accuracy': accuracy, 'sort_train_seconds': done.train_seconds, **done.origin('sort_')})
  run.print(f'sort: {accuracy:.2%} of {len(sources):,} held-out rows right, {done.train_seconds:.0f} s')
  return True


def seq2seq(run: contract.Run) -> bool:
  """Trains the encoder-decoder Transformer; greedy and beam search, last and averaged checkpoints."""
  if 'seq2seq_accuracy' in (run.result() or {}):
    run.check(FREE)
    run.print_finished(f'seq2seq:\n{_seq2seq_table((run.result() or {})["seq2seq_accuracy"])}')
    return True
  config = run.config.seq2seq.to_dict()
  name = config['problem']['name']
  problem, model, train = check_seq2seq(run)
  sources = held_out_sources(problem, config['test_examples'], seed=2)
  run.claim(FREE)
  workdir = run.workdir / 'seq2seq'
  done = encoder_decoder.train_seq2seq(
    problem,
    model,
    train,
    workdir,
    label_smoothing=config['label_smoothing'],
    watched=held_out_sources(problem, 1000),
  )
  if done.interrupted:
    return False
  mean, steps = encoder_decoder.averaged(model, workdir, config['average'])
  accuracy: dict[str, float] = {}
  answered: list[str] = []
  for params, which in ((done.params, 'last'), (mean, f'mean of {len(steps)}')):
    for beam in (1, config['beam']):
      answered = encoder_decoder.answers(params, model, problem, sources, beam=beam, alpha=config['alpha'])
      accuracy[f'{which}, beam {beam}'] = encoder_decoder.accuracy(answered, problem, sources)
  for source, answer in list(zip(sources, answered, strict=True))[: config['show']]:
    run.print(
      f'  {source} -> {answer}' + ('' if answer == problem.answer(source) else f'   wrong: {problem.answer(source)}')
    )
  run.write_result(
    {'seq2seq_accuracy': accuracy, 'seq2seq_problem': name, 'seq2seq_train_seconds': done.train_seconds}
    | done.origin('seq2seq_')
  )
  run.print(f'seq2seq, {name}: {len(sources):,} held-out examples, {done.train_seconds:.0f} s of training')
  run.print(_seq2seq_table(accuracy))
  if distributed.is_main():
    _draw_cross_attention(run, mean, model, problem, max(sources[:50], key=len))
    files.write_text(workdir / 'answers.txt', ''.join(f'{s} -> {a}\n' for s, a in zip(sources, answered, strict=True)))
  return True


def idle(config: Any) -> dict[str, str]:
  """Keys of the problems that the others leave without effect, and why."""
  if config.adder.problem.digits <= 2 and not config.adder.test_digits:
    return {'adder.test_sums': 'all sums of 2 digits are asked for, where adder.test_digits is empty'}
  return {}


def check_adder(run: contract.Run) -> tuple[Addition, list[int], gpt.GPTConfig, TrainConfig]:
  """mingpt_settings.read_adder, with what this machine has against the training found too."""
  found = read_adder(run)
  check_settings(found[-1])
  return found


def check_sort(run: contract.Run) -> tuple[Sorting, gpt.GPTConfig, TrainConfig]:
  """Likewise of read_sort."""
  found = read_sort(run)
  check_settings(found[-1])
  return found


def check_seq2seq(run: contract.Run) -> tuple[Problem, transformer.TransformerConfig, TrainConfig]:
  """Likewise of read_seq2seq."""
  found = read_seq2seq(run)
  check_settings(found[-1])
  return found


def _draw_cross_attention(
  run: contract.Run, params: Any, model: transformer.TransformerConfig, problem: Problem, source: str
) -> None:
  target = problem.answer(source)
  given = jnp.asarray([problem.encode(source)])
  said = jnp.asarray([[algorithmic.START, *problem.encode(target)]])
  maps = transformer.cross_attention(params, given, said, model)[:, 0]
  path = run.workdir / 'plots' / 'cross_attention.png'
  title = f'{source} -> {target}: where the decoder looks as it writes each character (down)'
  inspection_charts.attention(np.asarray(maps), [*target, 'end'], list(source), path, title=title)


def _adder_line(values: Mapping[str, Any]) -> str:
  if 'adder_accuracy_by_digits' in values:
    shown = ', '.join(f'{digits} digits {share:.2%}' for digits, share in values['adder_accuracy_by_digits'].items())
  else:
    shown = f'{values["adder_accuracy"]:.2%} of all {values["adder_sums"]:,} sums right, '
    shown += f'{values["adder_held_out_accuracy"]:.2%} of the {values["adder_held_out_sums"]:,} held out of training'
  return f'{shown}; {values["adder_train_seconds"]:.0f} s of training'


def _seq2seq_table(accuracy: Mapping[str, float]) -> str:
  return '\n'.join(f'  {how:<22} {share:>8.2%} right' for how, share in accuracy.items())
