"""--hardware=here: pieces of a config's own model timed on this machine, and a finished run of it beside them."""

from collections.abc import Mapping
from typing import Any

from experiments import config_files, contract
from experiments.estimate_language import gpt_load, gpt_plan
from mlsd_jax.estimates import decoding, training
from mlsd_jax.estimates.hardware import Hardware
from mlsd_jax.estimates.table import Group, Row

_TOKENS = 4096  # of a timed step at most: a larger batch is as many of these


def calibrate(run: contract.Run, values: Mapping[str, Any], hardware: Hardware) -> Group:
  """A training step and a decoding step of a config of experiments.gpt2: by roofline, calibrated, and as a run had it.

  The step is timed at one and two layers, on at most 4,096 tokens, as many times as the batch holds them.
  """
  from mlsd_jax.estimates import calibration
  from mlsd_jax.models import gpt

  plan, load = gpt_plan(run, values), gpt_load(run, values)
  model = run.config.model.to_dict() | {'attention': 'xla'}
  rows = max(1, min(plan.batch_size // plan.accumulation, _TOKENS // plan.length))
  per_dispatch = min(run.config.train.steps_per_dispatch, 10)
  by_layers = calibration.training_by_layers(
    model, plan.model.vocab_size, batch_size=rows, dtype=plan.dtype, steps=per_dispatch
  )
  step = calibration.Layers(*(seconds for seconds, _ in by_layers)).at(plan.model.layers) * plan.batch_size / rows
  mesh = training.resolve_mesh(plan.mesh, 1)
  naive = max(training.seconds(plan, hardware, mesh).values())
  made = [
    Row('step by roofline', naive, 'seconds', 'max(compute, memory)'),
    Row('step calibrated', step, 'seconds', f't(1) + {plan.model.layers - 1} (t(2) - t(1)), timed here'),
    Row('tokens/s calibrated', plan.tokens_per_step / step, 'count', 'B T / step'),
    Row('time of the run', step * plan.steps, 'seconds', 'S x step, without evaluation and checkpoints'),
  ]
  made += _measured(run, plan, step)
  if model.get('kind', 'gpt') == 'gpt' and load.dtype in ('float32', 'bfloat16'):
    sizes = {name: value for name, value in model.items() if name != 'kind'}
    config = gpt.GPTConfig(**sizes, vocab_size=plan.model.vocab_size)
    context = load.prompt_tokens + load.new_tokens // 2
    alone = decoding.step_seconds(plan.model, hardware, load.dtype, 1, context)
    timed = calibration.decoding_by_products(config, 1, context, load.dtype)
    made += [
      Row('decoding by roofline', alone, 'seconds', f'max(operations / peak, bytes / bandwidth), {load.dtype}, alone'),
      Row('decoding calibrated', timed, 'seconds', 'each product at its rows, and attention, timed here'),
    ]
  return Group('calibrated on this machine', tuple(made), ('wall clock: what else runs here counts',))


def _measured(run: contract.Run, plan: training.Plan, step: float) -> list[Row]:
  """Of a finished run of the same config in the workdir."""
  result = run.result()
  if not result or 'tokens_per_second' not in result or run.stored is None:
    return []
  names = ('model', 'train.batch_size', 'train.dtype', 'train.accumulation', 'data.tokenizer')
  leaves = [dict(config_files.leaves(config)) for config in (run.stored, run.config.to_dict())]
  if any(leaves[0].get(key) != leaves[1].get(key) for key in leaves[1] if key.startswith(names)):
    return []
  measured = plan.tokens_per_step / result['tokens_per_second']
  return [
    Row('step measured', measured, 'seconds', f'{run.workdir}/result.json, made at some other time'),
    Row('calibrated off by', f'{step / measured - 1:+.0%}', 'count', 'calibrated / measured - 1'),
  ]
