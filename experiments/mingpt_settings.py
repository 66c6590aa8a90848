"""The problems of experiments.mingpt as its config says them: problem, model, training. No JAX."""

from collections.abc import Mapping
from typing import Any

from experiments import contract, sections
from mlsd_jax.data.algorithmic import PROBLEMS, Addition, Problem, Sorting
from mlsd_jax.errors import UserError
from mlsd_jax.language_model.rungs import capped, merged
from mlsd_jax.models.decoder_config import GPTConfig
from mlsd_jax.models.transformer_config import TransformerConfig
from mlsd_jax.schema import Dropout, Positive, from_mapping
from mlsd_jax.training.config import TrainConfig

_TRAINED = sections.partly(TrainConfig, steps=1, batch_size=1)
_DECODER = sections.with_values(GPTConfig, vocab_size=2, context_length=1)
SECTIONS: dict[str, sections.Section] = {
  'adder': sections.keys(test_digits=tuple[Positive, ...], test_sums=Positive),
  'adder.problem': Addition,
  'adder.model': _DECODER,
  'adder.train': _TRAINED,
  'sort': sections.keys(test_examples=Positive),
  'sort.problem': Sorting,
  'sort.model': _DECODER,
  'sort.train': _TRAINED,
  'seq2seq': sections.keys(
    label_smoothing=Dropout, average=Positive, beam=Positive, alpha=float, test_examples=Positive, show=int
  ),
  'seq2seq.problem': lambda values, name: _seq2seq_problem(values),
  'seq2seq.model': sections.with_values(TransformerConfig, vocab_size=2),
  'seq2seq.train': _TRAINED,
}


def read_adder(run: contract.Run) -> tuple[Addition, list[int], GPTConfig, TrainConfig]:
  """Problem, lengths of the sums asked for, model and training settings of config.adder, checked."""
  config = run.config.adder.to_dict()
  problem = from_mapping(Addition, config['problem'], 'adder.problem')
  lengths = sorted({problem.digits, *config['test_digits']})
  extra = 3 * (lengths[-1] - problem.digits)
  return problem, lengths, _decoder(problem, config['model'], 'adder.model', extra), _train(run, config, 'adder')


def read_sort(run: contract.Run) -> tuple[Sorting, GPTConfig, TrainConfig]:
  """Problem, model and training settings of config.sort, checked."""
  config = run.config.sort.to_dict()
  problem = from_mapping(Sorting, config['problem'], 'sort.problem')
  return problem, _decoder(problem, config['model'], 'sort.model'), _train(run, config, 'sort')


def read_seq2seq(run: contract.Run) -> tuple[Problem, TransformerConfig, TrainConfig]:
  """Problem, model and training settings of config.seq2seq, checked."""
  config = run.config.seq2seq.to_dict()
  problem = _seq2seq_problem(config['problem'])
  shape = config['model'] | {'vocab_size': problem.vocab_size}
  return problem, from_mapping(TransformerConfig, shape, 'seq2seq.model'), _train(run, config, 'seq2seq')


def _seq2seq_problem(settings: Mapping[str, Any]) -> Problem:
  name, others = settings['name'], {key: value for key, value in settings.items() if key != 'name'}
  if name not in PROBLEMS:
    raise UserError(f'config.seq2seq.problem.name={name!r} is not one of {", ".join(PROBLEMS)}')
  return from_mapping(PROBLEMS[name], others, 'seq2seq.problem')


def _train(run: contract.Run, config: Mapping[str, Any], where: str) -> TrainConfig:
  """The part's training settings over the shared ones."""
  train = capped(merged(run.config.train.to_dict(), config['train']), run.config.max_steps)
  return from_mapping(TrainConfig, train, f'{where}.train')


def _decoder(problem: Problem, shape: Mapping[str, Any], where: str, extra_positions: int = 0) -> GPTConfig:
  sizes = {'vocab_size': problem.vocab_size, 'context_length': sum(problem.lengths) + extra_positions}
  return from_mapping(GPTConfig, dict(shape) | sizes, where)
