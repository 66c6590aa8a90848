"""MiniGPT: a ladder of character models from a guess to a Transformer, and problems that small Transformers solve.

python -m experiments.mingpt                                              # the ladder in short, then 2-digit addition
python -m experiments.mingpt --config=configs/mingpt/shakespeare.py       # the ladder with its full figures
python -m experiments.mingpt --mode=sample --config.sample.prompt='ROMEO:'
python -m experiments.mingpt --mode=explain                               # attention maps, induction heads, logit lens
python -m experiments.mingpt --mode=seq2seq                               # the encoder-decoder Transformer
"""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import compile_mode, contract, mingpt_problems, mingpt_settings, sections
from mlsd_jax import files
from mlsd_jax.compilation import Program, train_program
from mlsd_jax.data import fetch
from mlsd_jax.data.algorithmic import Addition, Sorting
from mlsd_jax.errors import UserError
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.language_model import inspection, inspection_charts, ladder, ladder_chart
from mlsd_jax.language_model.rungs import Rung, read_model, read_rungs
from mlsd_jax.language_model.text import Text, keep_tokenizer, open_prepared, read_prompts, run_tokenizer
from mlsd_jax.language_model.text_preparation import prepare_text
from mlsd_jax.models.gpt import GPTConfig
from mlsd_jax.models.partial_gpt import PartialGPTConfig
from mlsd_jax.models.transformer import TransformerConfig
from mlsd_jax.schema import Names
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import distributed
from mlsd_jax.training.config import TrainConfig
from mlsd_jax.training.loop import check_settings


def train(run: contract.Run) -> None:
  """Does the parts that the config names, one after the other."""
  unknown = [part for part in run.config.parts if part not in PARTS]
  if unknown:
    raise UserError(f'config.parts names {unknown[0]!r}; known are {", ".join(PARTS)}')
  for part in run.config.parts:  # a mistake in the last part is found before the first is trained
    CHECKS[part](run)
  for part in run.config.parts:
    if not PARTS[part](run):
      return


def climb(run: contract.Run) -> bool:
  """Trains every rung of the ladder, shows a sample of each, draws the chart. False if it was interrupted."""
  text, rungs, prompts = _read(run)
  run.print(
    f'{text.source}: {len(text.train):,} training and {len(text.val):,} validation characters, '
    f'{text.tokenizer.vocab_size} distinct; on {len(jax.devices())} x {jax.devices()[0].device_kind}'
  )
  run.claim(mingpt_problems.FREE)
  uniform = ladder.uniform_loss(text.tokenizer.vocab_size)
  if 'val_loss' in (run.result() or {}):
    results = {rung.name: ladder.train_rung(rung, text, run.workdir) or {} for rung in rungs}
    run.print_finished(f'\n{_table(rungs, results, uniform, text)}')
    return True
  keep_tokenizer(run.workdir, text.tokenizer)
  val_loss, results = {'random': uniform}, {}
  for rung in rungs:
    result = ladder.train_rung(rung, text, run.workdir)
    if result is None:
      return False
    val_loss[rung.name], results[rung.name] = result['val_loss'], result
    _sample(run, rung, text.tokenizer, prompts)
  run.write_result(
    {'val_loss': val_loss}
    | {name: {rung: result[name] for rung, result in results.items()} for name in ('num_params', 'train_seconds')}
    | {'tokens_per_second': {rung: result['tokens_per_second'] for rung, result in results.items()}}
    | {'source': text.source}
  )
  if rungs and distributed.is_main():
    _draw(run, rungs, val_loss, text)
  run.print(_table(rungs, results, uniform, text))
  return True


def sample(run: contract.Run) -> None:
  """Continues --config.sample.prompt with a trained rung (--config.sample.rung; the top one by default)."""
  rung, tokenizer = _trained(run, run.config.sample.rung)
  _sample(run, rung, tokenizer, read_prompts(run.config.sample.prompt, tokenizer))


def explain(run: contract.Run) -> None:
  """Draws attention maps and the logit lens of a trained rung, and scores its heads; writes WORKDIR/plots."""
  rung, tokenizer = _trained(run, run.config.explain.rung)
  model = rung.model
  lacks_attention = isinstance(model, PartialGPTConfig) and model.sublayers == 'mlp'
  if lacks_attention or not isinstance(model, GPTConfig):
    raise UserError(f'{rung.label} has no attention to explain; choose another with --config.explain.rung')
  text = run.config.explain.text
  ids = tokenizer.encode(text)
  if not 2 <= len(ids) <= model.context_length:
    raise UserError(f'explain.text has {len(ids)} characters; 2 to {model.context_length} can be explained')
  params = ladder.load_rung(rung, run.workdir)
  maps = inspection.attention_maps(params, jnp.asarray(ids)[None], model)[:, 0]
  lens = inspection.logit_lens(params, jnp.asarray(ids)[None, :-1], model)[:, 0]
  scores = inspection.head_scores(params, model)
  if distributed.is_main():
    title, plots = f'{run.workdir.name}: {rung.label}', run.workdir / 'plots'
    characters = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
    inspection_charts.attention(maps, text, text, plots / f'attention_{rung.name}.png', title=title)
    inspection_charts.head_scores(scores, plots / f'heads_{rung.name}.png', title=title)
    inspection_charts.logit_lens(lens, text, characters, plots / f'logit_lens_{rung.name}.png', title=title)
  found = {
    'induction': scores.induction.tolist(),
    'previous_token': scores.previous.tolist(),
    'random_loss': scores.first_loss,
    'repeated_loss': scores.second_loss,
  }
  run.write_result({'heads': (run.result() or {}).get('heads', {}) | {rung.name: found}})
  run.print(_scores(rung, scores))
  run.print(
    f'wrote attention_{rung.name}.png, heads_{rung.name}.png, logit_lens_{rung.name}.png in {run.workdir}/plots'
  )


def programs(config: Any) -> list[Program]:
  """What --mode=compile compiles: the training of every rung that is climbed."""
  size = compile_mode.vocabulary_size(config.data.tokenizer)
  found = []
  for rung in read_rungs(config.to_dict(), size):
    shape = rung.train.batch_size, rung.model.context_length + 1
    batch = {'tokens': jax.ShapeDtypeStruct(shape, jnp.int32)}
    found.append(train_program(ladder.task_of(rung), rung.train, batch, f'train {rung.name}'))
  return found


def _trained(run: contract.Run, name: str) -> tuple[Rung, Tokenizer]:
  """A rung of the workdir by name ('' is the top one) and the tokenizer of its text."""
  tokenizer = run_tokenizer(run.workdir)
  rungs = {rung.name: rung for rung in read_rungs(run.config.to_dict(), tokenizer.vocab_size)}
  name = name or next(reversed(rungs))
  if name not in rungs:
    raise UserError(f'there is no rung {name!r}; config.climb names {", ".join(rungs)}')
  return rungs[name], tokenizer


def _scores(rung: Rung, scores: inspection.HeadScores) -> str:
  row = lambda name, *values: f'  {name:<18}' + ''.join(f'{value:>17}' for value in values)
  lines = [rung.label, row('share of attention', 'induction', 'previous token')]
  for (layer, head), induction in np.ndenumerate(scores.induction):
    lines.append(row(f'layer {layer}, head {head}', f'{induction:.3f}', f'{scores.previous[layer, head]:.3f}'))
  lines.append(row('even attention', f'{scores.chance_induction:.3f}', f'{scores.chance_previous:.3f}'))
  first, second = scores.first_loss, scores.second_loss
  return '\n'.join([*lines, f'  random characters {first:.3f} nats each, the same once more {second:.3f}'])


def _settle(run: contract.Run) -> None:
  """Replaces data.source=auto by what is on this machine, or was when the run began."""
  contract.read_own_path(run)
  if run.config.data.source == 'auto':
    found = 'tinyshakespeare' if fetch.locate('tinyshakespeare', 'input.txt') else 'python_docs'
    run.config.data.source = found if run.stored is None else run.stored['data']['source']


def _read(run: contract.Run) -> tuple[Text, list[Rung], list[str]]:
  """The text, the rungs and the prompts of their samples, all of them checked."""
  run.check(mingpt_problems.FREE)
  for name in ('num_samples', 'max_new_tokens'):
    if run.config.sample[name] < 1:
      raise UserError(f'config.sample.{name}={run.config.sample[name]} must be at least 1')
  text = open_prepared(prepare_text(run.config.data))
  vocab_size = text.tokenizer.vocab_size
  if vocab_size < 2:
    raise UserError(f'{text.source} has only {vocab_size} distinct character; a language model needs 2 or more')
  rungs = read_rungs(run.config.to_dict(), vocab_size)
  for rung in rungs:
    check_settings(rung.train)
  return text, rungs, read_prompts(run.config.sample.prompt, text.tokenizer)


def _sample(run: contract.Run, rung: Rung, tokenizer: Tokenizer, prompts: list[str]) -> None:
  """Prints samples of a rung and writes them to its samples.txt."""
  params = ladder.load_rung(rung, run.workdir)
  shown = '\n\n'.join(
    sample.strip('\n') for sample in ladder.sample_rung(params, rung, tokenizer, prompts, run.config.sample.to_dict())
  )
  run.print(f'--- {rung.label} ---\n{shown}\n')
  if distributed.is_main():
    files.write_text(rung.folder(run.workdir) / 'samples.txt', shown + '\n')


def _draw(run: contract.Run, rungs: list[Rung], val_loss: dict[str, float], text: Text) -> None:
  *lower, top = rungs
  title = f'MiniGPT on {text.source}: what each part of a Transformer brings'
  baselines = {'random guess': val_loss['random']} | {rung.label: val_loss[rung.name] for rung in lower}
  records = ladder.curve(top, run.workdir)
  ladder_chart.draw(records, run.workdir / 'plots' / 'ladder.png', title=title, label=top.label, baselines=baselines)
  curves = {rung.label: ladder.curve(rung, run.workdir) for rung in rungs}
  ladder_chart.draw_by_time(curves, run.workdir / 'plots' / 'rungs_by_time.png', title=title)


def _table(rungs: list[Rung], results: dict[str, Any], uniform: float, text: Text) -> str:
  lines = [f'{"rung":<26} {"parameters":>12} {"steps":>7} {"seconds":>8} {"val loss":>9}']
  lines.append(f'{"random guess":<26} {"":>12} {"":>7} {"":>8} {uniform:>9.4f}   (ln {text.tokenizer.vocab_size})')
  for rung in rungs:
    r = results[rung.name]
    cells = f'{r["num_params"]:>12,} {r["steps"]:>7,} {r["train_seconds"]:>8.1f} {r["val_loss"]:>9.4f}'
    lines.append(f'{rung.label:<26} {cells}')
  return '\n'.join(lines)


PARTS = {
  'ladder': climb,
  'adder': mingpt_problems.adder,
  'sort': mingpt_problems.sort,
  'seq2seq': mingpt_problems.seq2seq,
}
CHECKS: dict[str, Callable[[contract.Run], object]] = {
  'ladder': _read,
  'adder': mingpt_problems.check_adder,
  'sort': mingpt_problems.check_sort,
  'seq2seq': mingpt_problems.check_seq2seq,
}
_SAMPLE = tuple(
  f'sample.{name}' for name in ('prompt', 'num_samples', 'max_new_tokens', 'temperature', 'top_k', 'seed')
)
_LADDER = ('data', 'climb', 'rungs', *_SAMPLE)
_PROBLEMS = ('adder', 'sort', 'seq2seq')
_TRAINED = ('climb', 'rungs', 'train', 'max_steps')  # what a ladder was climbed with
MODES = {
  'train': contract.Mode(train, ('parts', 'train', 'max_steps', *_LADDER, *_PROBLEMS)),
  'adder': contract.Mode(mingpt_problems.adder, ('adder', 'train', 'max_steps')),
  'sort': contract.Mode(mingpt_problems.sort, ('sort', 'train', 'max_steps')),
  'seq2seq': contract.Mode(mingpt_problems.seq2seq, ('seq2seq', 'train', 'max_steps')),
  'explain': contract.Mode(explain, ('explain',), kept=_TRAINED),
  'sample': contract.Mode(sample, ('sample',), kept=_TRAINED),
  'compile': compile_mode.mode(programs, ('data.tokenizer', *_TRAINED)),
}


def _idle(run: contract.Run) -> dict[str, str]:
  """What belongs to no part that is done, or to no rung that is climbed."""
  config = run.config
  idle: dict[str, str] = {}
  if not {*config.parts} <= {*PARTS} or not {*config.climb} <= {*config.rungs}:
    return {}  # which is a mistake of its own
  if run.flags['mode'] == 'train':
    for part, keys in {'ladder': _LADDER, **{part: (part,) for part in _PROBLEMS}}.items():
      if part not in config.parts:
        idle |= dict.fromkeys(keys, f'config.parts has no {part}')
  idle |= {f'rungs.{name}': f'config.climb has no {name}' for name in config.rungs if name not in config.climb}
  return idle | mingpt_problems.idle(config)


SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(parts=Names, climb=Names, max_steps=int),
  'data': sections.Text,
  'train': sections.partly(TrainConfig, steps=1, batch_size=1),
  'rungs.*': sections.keys(label=str),
  'rungs.*.model': lambda values, name: read_model(values, name, vocab_size=2),
  'rungs.*.train': sections.partly(TrainConfig, steps=1, batch_size=1),
  'explain': sections.keys(rung=str, text=str),
  'sample': sections.sample_with(SamplingConfig),
  **mingpt_settings.SECTIONS,
}
CLASSES = (
  ('seq2seq.model', TransformerConfig),
  ('*.model', PartialGPTConfig),
  ('*.model', GPTConfig),
  ('adder.problem', Addition),
  ('sort.problem', Sorting),
  ('sample', SamplingConfig),
)


def main(argv: Sequence[str] | None = None) -> int:
  return contract.launch(
    'mingpt',
    MODES,
    'quickstart',
    define_flags=compile_mode.define_flags,
    settle=_settle,
    idle=_idle,
    sections=SECTIONS,
    classes=CLASSES,
    repeated=('sample.prompt',),
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
