"""From a config of gpt2, mingpt or makemore to its estimate: what it trains, and what it serves."""

import dataclasses
import types
from collections.abc import Mapping
from typing import Any

from experiments import contract
from experiments.compile_mode import VOCABULARIES
from experiments.estimate_compiled import beside, compiled
from mlsd_jax.errors import UserError
from mlsd_jax.estimates import decoding, ladder, training, transformer
from mlsd_jax.estimates import names as name_sizes
from mlsd_jax.estimates.hardware import Hardware
from mlsd_jax.estimates.table import Group

CHARACTERS = {'tinyshakespeare': 65}  # of data.tokenizer=char


def vocabulary(run: contract.Run, values: Mapping[str, Any]) -> int:
  """How many tokens the model has: --vocab_size, what the run in the workdir learned, or what data.tokenizer says.

  Raises:
    UserError: none of them says it.
  """
  if values['vocab_size']:
    return int(values['vocab_size'])
  data, learned = run.config.data, run.workdir / 'tokenizer.json'
  if learned.exists():
    from mlsd_jax import tokenizers

    return tokenizers.load(learned).vocab_size
  kind, _, size = data.tokenizer.partition(':')
  if kind in ('bpe', 'unigram') and size.isdecimal() and int(size):
    return int(size)
  if kind == 'char' and data.source in CHARACTERS:
    return CHARACTERS[data.source]
  if data.tokenizer in VOCABULARIES:
    return VOCABULARIES[data.tokenizer]
  raise UserError(
    f'data.tokenizer={data.tokenizer!r} does not say how many tokens it has; --vocab_size=N does (a character each, or '
    'the size of the file)'
  )


def gpt_plan(run: contract.Run, values: Mapping[str, Any]) -> training.Plan:
  """What a config of experiments.gpt2 trains."""
  model, train = run.config.model, run.config.train
  return training.Plan(
    transformer.of_decoder(model.to_dict(), vocabulary(run, values)),
    length=model.context_length,
    batch_size=train.batch_size,
    steps=train.steps,
    accumulation=max(train.accumulation, 1),
    mesh=train.mesh.to_dict(),
    dtype=train.dtype,
    remat=model.remat,
    fused_attention=model.attention in ('cudnn', 'splash'),
    loss_chunks=model.loss_chunks,
    optimizer=train.optimizer.name,
  )


def gpt_load(run: contract.Run, values: Mapping[str, Any]) -> decoding.Load:
  context = run.config.model.context_length
  prompt, new = (values[name] or 0 for name in ('prompt_tokens', 'new_tokens'))
  return decoding.Load(
    qps=values['qps'],
    prompt_tokens=int(prompt or min(512, context // 2)),
    new_tokens=int(new or min(256, max(context // 4, 1))),
    batch=int(values['batch']),
    dtype=values['serve_dtype'],
    mfu=values['mfu'],
  )


def estimate_gpt(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> list[Group]:
  plan, load = gpt_plan(run, values), gpt_load(run, values)
  found = compiled('gpt2', 'quickstart', plan, lambda other: gpt_plan(other, {'vocab_size': None}), hardware)
  trained = beside(training.estimate(plan, hardware, values['mfu']), found)
  return trained + decoding.estimate(plan.model, hardware, load)


def estimate_mingpt(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> list[Group]:
  from mlsd_jax.language_model.rungs import read_rungs
  from mlsd_jax.models.decoder_config import BigramConfig

  rungs = []
  config = run.config.to_dict()
  if 'ladder' in config['parts']:
    vocab_size = int(values['vocab_size'] or 65)
    for rung in read_rungs(config, vocab_size):
      length = rung.model.context_length
      if isinstance(rung.model, BigramConfig):
        parameters, weights = vocab_size**2, float(vocab_size**2)
      else:
        sizes = transformer.of_gpt(config['rungs'][rung.name]['model'], vocab_size)
        parameters, weights = sizes.parameters, sizes.training_flops(length) / 6
      places = rung.train.batch_size * length
      rungs.append(ladder.Rung(rung.name, parameters, weights, places, rung.train.steps, rung.train.dtype))
  return ladder.estimate([*rungs, *_problems(run)], hardware, values['mfu'])


def _problems(run: contract.Run) -> list[ladder.Rung]:
  """The parts of mingpt that have a right answer."""
  from experiments.mingpt_settings import read_adder, read_seq2seq, read_sort
  from mlsd_jax.models.transformer_config import flops_per_row

  rungs, parts = [], run.config.parts
  for name in ('adder', 'sort'):
    if name in parts:
      *_, model, train = read_adder(run) if name == 'adder' else read_sort(run)
      sizes = transformer.of_gpt(dataclasses.asdict(model), model.vocab_size)
      weights = sizes.training_flops(model.context_length) / 6
      places = train.batch_size * model.context_length
      rungs.append(ladder.Rung(name, sizes.parameters, weights, places, train.steps, train.dtype))
  if 'seq2seq' in parts:
    problem, pair, train = read_seq2seq(run)
    source, target = problem.lengths
    parameters = transformer.encoder_decoder_parameters(dataclasses.asdict(pair))
    weights = flops_per_row(pair, source, target + 1) / 6
    rungs.append(ladder.Rung('seq2seq', parameters, weights, train.batch_size, train.steps, train.dtype))
  return rungs


def estimate_makemore(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> list[Group]:
  from mlsd_jax.makemore import rungs as names

  config = run.config
  words = types.SimpleNamespace(vocab_size=int(values['vocab_size']), length=int(values['length']))
  rungs = []
  for name in config['ladder']:
    settings = config.models[name].to_dict()
    if settings['kind'] == names.COUNTED:
      entries = words.vocab_size ** names.counted_order(settings, words)
      rungs.append(ladder.Rung(name, 0, 0.0, entries, 0, config.train.dtype))
      continue
    model = names.model_config(settings, words)
    parameters = name_sizes.parameters(dataclasses.asdict(model))
    tables = model.vocab_size * model.embed_dim if model.kind not in ('bigram',) else 0
    steps, batch = settings.get('steps', config.train.steps), settings.get('batch_size', config.train.batch_size)
    rungs.append(ladder.Rung(name, parameters, parameters - tables, batch * model.length, steps, config.train.dtype))
  return ladder.estimate(rungs, hardware, values['mfu'])
