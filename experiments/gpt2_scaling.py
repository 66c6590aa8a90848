"""gpt2 --mode=scaling: a ladder of sizes at a few budgets of operations, the law through their losses, and its test."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

from experiments import contract
from mlsd_jax import figures, sealed
from mlsd_jax.data.tokens import EvalBatches, TokenBatches
from mlsd_jax.errors import UserError
from mlsd_jax.language_model.scaling import ScalingLaw, ScalingRun, best_of_budget, fit_law
from mlsd_jax.language_model.task import gpt_task
from mlsd_jax.language_model.text import keep_tokenizer, open_prepared
from mlsd_jax.language_model.text_preparation import prepare_text
from mlsd_jax.models.families import functions_of, read_config
from mlsd_jax.schema import Positive, above, from_mapping
from mlsd_jax.training import distributed
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import check_settings, fit

FILE = 'scaling.json'


@dataclasses.dataclass(frozen=True)
class ScalingConfig:
  """The ladder. One dial, the depth, sets a model: so many layers, so many heads, `width` times as wide."""

  depths: tuple[Positive, ...] = (1, 2, 3, 4)
  width: Positive = 32  # of a model by its depth; also the width of a head
  budgets: tuple[Annotated[float, above(0)], ...] = (1e12, 2e12, 4e12)  # operations of a training, 6 N D
  next_depth: Positive = 5  # what the law has not seen, and predicts
  next_budget: Annotated[float, above(0)] = 8e12

  def __post_init__(self):
    if len(set(self.depths)) < 2 or len(set(self.budgets)) < 2 or len(self.depths) * len(self.budgets) < 5:
      raise ValueError('depths and budgets, two or more each, must make five runs or more: a law has five numbers')
    if (self.next_depth, self.next_budget) in {(d, c) for d in self.depths for c in self.budgets}:
      raise ValueError(
        f'next_depth={self.next_depth} at next_budget={self.next_budget:g} is a run of the ladder itself'
      )


def scale(run: contract.Run, free: Sequence[str]) -> None:
  """Trains what is not yet trained, and tells what came of it; `free` as Run.check takes it."""
  config = run.config
  if config.data.format != 'text':
    raise UserError(f'config.data.format={config.data.format}: --mode=scaling trains on text')
  if (run.workdir / 'checkpoints').exists():
    raise UserError(f'{run.workdir} holds a training: choose another --workdir')
  ladder = from_mapping(ScalingConfig, config.scaling.to_dict(), 'scaling')
  settings = from_mapping(TrainConfig, config.train.to_dict(), 'train')
  check_settings(settings)
  run.check(free)
  text = open_prepared(prepare_text(config.data))
  cells = [(depth, budget) for budget in ladder.budgets for depth in ladder.depths]
  cells.append((ladder.next_depth, ladder.next_budget))
  planned = [_plan(config, settings, ladder, text, *cell) for cell in cells]
  run.claim(free)
  keep_tokenizer(run.workdir, text.tokenizer)
  path = run.workdir / FILE
  done: dict[str, Any] = sealed.read_json(path) if path.exists() else {}
  for (depth, budget), (model, train, parameters) in zip(cells, planned, strict=True):
    name = f'depth{depth}-{budget:.3g}'
    tokens = train.steps * train.batch_size * model.context_length
    if name not in done:
      task = gpt_task(model, batch_size=train.batch_size, length=model.context_length)
      data = TokenBatches(text.train, train.batch_size, model.context_length, train.seed)
      val = EvalBatches(text.val, train.batch_size, model.context_length)
      result = fit(task, data, val, train, run.workdir / 'ladder' / name)
      if result.interrupted:
        return
      done[name] = {'parameters': parameters, 'tokens': tokens, 'loss': result.metrics['loss']}
      if distributed.is_main():
        sealed.write_json(path, done)
    run.print(
      f'depth {depth}, {budget:.3g} operations: {parameters:,.0f} parameters, {tokens:,} tokens '
      f'({tokens / len(text.train):.1f} epochs), loss {done[name]["loss"]:.4f}'
    )
  runs = [ScalingRun(**done[f'depth{depth}-{budget:.3g}']) for depth, budget in cells]
  _tell(run, ladder, runs[:-1], runs[-1])


def _plan(config: Any, settings: TrainConfig, ladder: ScalingConfig, text: Any, depth: int, budget: float):
  """The model of a depth, the settings of its training, and N."""
  shape = {'num_layers': depth, 'num_heads': depth, 'embed_dim': ladder.width * depth}
  model = read_config(config.model.to_dict() | shape, vocab_size=text.tokenizer.vocab_size)
  length = model.context_length
  parameters = functions_of(model).flops_per_token(model, length) / 6
  steps = round(budget / (6 * parameters * settings.batch_size * length))
  if steps < 10:
    raise UserError(
      f'scaling.budgets={budget:g} are {steps} steps of a model of depth {depth}: too few to say anything'
    )
  warmup = min(settings.optimizer.warmup_steps, steps // 4)
  optimizer = dataclasses.replace(settings.optimizer, warmup_steps=warmup)
  return model, dataclasses.replace(settings, steps=steps, optimizer=optimizer), parameters


def _tell(run: contract.Run, ladder: ScalingConfig, seen: Sequence[ScalingRun], unseen: ScalingRun) -> None:
  law = fit_law(seen)
  predicted = law.loss(unseen.parameters, unseen.tokens)
  error = predicted / unseen.loss - 1
  fitted = max(abs(law.loss(each.parameters, each.tokens) / each.loss - 1) for each in seen)
  run.print(
    f'\nL(N, D) = {law.irreducible:.3f} + {law.of_parameters:.4g} / N^{law.alpha:.3f} + '
    f'{law.of_tokens:.4g} / D^{law.beta:.3f}, within {fitted:.2%} of the {len(seen)} runs; '
    f'best N ~ C^{law.exponent:.3f}'
  )
  size = len(ladder.depths)
  lowest = [best_of_budget(seen[i : i + size]) for i in range(0, len(seen), size)]
  for budget, found in zip(ladder.budgets, lowest, strict=True):
    by_law, tokens = law.best(budget)
    curve = 'no lowest point within the ladder' if found is None else f'{found:,.0f} by a parabola through its runs'
    run.print(f'{budget:.3g} operations: best N {by_law:,.0f} by the law ({tokens / by_law:.1f} tokens each), {curve}')
  run.print(
    f'depth {ladder.next_depth} at {ladder.next_budget:.3g} operations: predicted {predicted:.4f}, '
    f'measured {unseen.loss:.4f}, off by {error:+.2%}'
  )
  if distributed.is_main():
    _draw(run, ladder, law, seen, unseen)
  run.write_result(
    {
      **dataclasses.asdict(law),
      'exponent': law.exponent,
      'largest_error_of_fit': fitted,
      'predicted_loss': predicted,
      'measured_loss': unseen.loss,
      'error': error,
    }
  )


def _draw(
  run: contract.Run, ladder: ScalingConfig, law: ScalingLaw, seen: Sequence[ScalingRun], unseen: ScalingRun
) -> None:
  with figures.figure(run.workdir / 'plots' / 'scaling.png', size=(7.0, 4.4)) as (_, ((axes,),)):
    size = len(ladder.depths)
    budgets = [*zip(ladder.budgets, (seen[i : i + size] for i in range(0, len(seen), size)), strict=True)]
    smallest = min(each.parameters for each in seen) / 1.5
    largest = 1.5 * max(unseen.parameters, *(each.parameters for each in seen))
    line = [smallest * (largest / smallest) ** (i / 60) for i in range(61)]
    for (budget, runs), color in zip([*budgets, (ladder.next_budget, [unseen])], figures.PALETTE, strict=False):
      label = f'{budget:.3g} operations' + (' (not fitted)' if runs[0] is unseen else '')
      axes.plot([each.parameters for each in runs], [each.loss for each in runs], 'o', color=color, label=label)
      axes.plot(line, [law.loss(n, budget / 6 / n) for n in line], color=color, linewidth=1)
    losses = [each.loss for each in (*seen, unseen)]
    axes.set(xscale='log', xlabel='parameters (operations of a token by 6)', ylabel='validation loss, nats a token')
    axes.set(ylim=(min(losses) - 0.2, max(losses) + 0.3), title='Sizes at equal operations, and the law through them')
    axes.legend()
