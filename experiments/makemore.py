"""makemore: a ladder of models that learn a list of words and make more like them.

python -m experiments.makemore                                          # the whole ladder on given names
python -m experiments.makemore --config.data.source=rivers.txt --workdir=runs/rivers
python -m experiments.makemore --mode=sample                            # new words from every rung
python -m experiments.makemore --mode=score --word=isabella             # what each letter costs each model
python -m experiments.makemore --mode=search                            # hundreds of learning rates at once
python -m experiments.makemore --mode=diagnose                          # activations, gradients, updates
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import compile_mode, contract, sections
from mlsd_jax import files, sealed
from mlsd_jax.compilation import Program, train_program
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.data.words import WordList, load_words
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig
from mlsd_jax.makemore import hyperparameter_search, ladder, loss_charts, rungs, statistics, task
from mlsd_jax.makemore.new_words import novel_share
from mlsd_jax.models.name_models import NameConfig
from mlsd_jax.schema import Names, Numbers, Positive, from_mapping
from mlsd_jax.training.config import TrainConfig, free_keys
from mlsd_jax.training.loop import check_settings
from mlsd_jax.training.optimizers import OptimizerConfig
from mlsd_jax.training.step import refuse_microbatches

FREE = ('sample', 'search', 'diagnose', *sections.EXECUTOR, *free_keys('train'))


def train(run: contract.Run) -> None:
  """Climbs the ladder (or goes on), prints the table, draws the chart, makes new words."""
  config = run.config
  run.check(FREE)
  finished = run.result()
  if finished:
    return run.print_finished(_summary(finished))
  words = open_words(run)
  for name, settings in _rungs(config).items():  # a bad setting of the last rung is found before the first is trained
    check_settings(_train_config(config, settings, seed=0))
    if settings.get('kind') != rungs.COUNTED:
      if rungs.model_config(settings, words).whole_batch:
        refuse_microbatches(config.train.accumulation)
    elif (order := rungs.counted_order(settings, words)) < (wanted := settings.get('order', rungs.ORDER)):
      run.print(f'{name}: order {order} instead of {wanted}, whose table for these words would be too large')
  if config.sample.number < 1:
    raise UserError(f'config.sample.number={config.sample.number} must be at least 1')
  if not config.seeds:
    raise UserError('config.seeds is empty; each rung is trained once a seed')
  run.claim(FREE)
  guess = math.log(words.vocab_size)
  run.print(
    f'{words.name}: {len(words.train):,} words to learn from, {len(words.val):,} and {len(words.test):,} to be judged '
    f'by, {len(words.characters)} characters, up to {words.length - 1} long\n'
    f'a uniform guess costs {guess:.3f} nats a character'
  )
  rows: dict[str, list[ladder.Row]] = {}
  for name, settings in _rungs(config).items():
    for seed in config.seeds:
      run.print(f'\n{name}' + (f', seed {seed}' if len(config.seeds) > 1 else ''))
      row = ladder.train_rung(settings, words, _train_config(config, settings, seed), _folder(run, name, seed))
      if row is None:
        return None
      rows.setdefault(name, []).append(row)
  # What was published holds for makemore's own list.
  published = {name: each.published for name, each in _rungs(config).items() if each.get('published')}
  published = published if words.name == 'names' else {}
  table = [_line(name, each, published.get(name)) for name, each in rows.items()]
  run.print('\n'.join(['', _HEAD, *table]))
  made = _sample(run, words)
  mean = lambda field: {name: float(np.mean([getattr(row, field) for row in rows[name]])) for name in rows}
  run.write_result(
    {
      'test_loss': mean('test_loss'),
      'val_loss': mean('val_loss'),
      'steps_per_second': {name: rate for name, rate in mean('steps_per_second').items() if rate},
      'novel_share': novel_share(made[min(made, key=lambda name: mean('val_loss')[name])], words),
      'novel_share_by_model': {name: novel_share(list_, words) for name, list_ in made.items()},
      'train_seconds': sum(row.train_seconds for each in rows.values() for row in each),
      'uniform_guess': guess,
      'origin': {name: [dict(row.origin) for row in each] for name, each in rows.items() if each[0].origin},
    }
  )
  loss_charts.ladder(mean('val_loss'), published, guess, run.workdir / 'plots' / 'ladder.png')
  return run.print(f'\n{run.workdir}: {_summary(run.result() or {})}')


def sample(run: contract.Run) -> None:
  """New words from every rung, those of the training list marked."""
  _sample(run, open_words(run))


def score(run: contract.Run) -> None:
  """What each letter of --word (several with commas) costs every model; a table and a picture each."""
  words = open_words(run)
  asked = [word.strip() for word in run.flags['word'].split(',') if word.strip()]
  if not asked:
    raise UserError('--mode=score needs --word=NAME')
  words.encode(asked)
  models = open_models(run, words)
  for word in asked:
    losses = {name: model.losses([word])[0][: len(word) + 1].tolist() for name, model in models.items()}
    run.print(f'\n{word:<22}' + ''.join(f'{letter:>6}' for letter in [*word, 'end']) + f'{"in all":>9}')
    for name, values in losses.items():
      run.print(f'{name:<22}' + ''.join(f'{value:6.2f}' for value in values) + f'{sum(values):9.2f}')
    picture = run.workdir / 'plots' / f'score_{word}.png'
    loss_charts.scores(word, losses, picture)
    run.print(f'wrote {picture}')


def search_(run: contract.Run) -> None:
  """Trains many MLPs of other learning rates, widths and seeds in one program; draws loss by learning rate."""
  words, settings = open_words(run), run.config.search
  trials = hyperparameter_search.Trials.draw(
    settings.trials, low=settings.low, high=settings.high, widths=tuple(settings.widths), seed=settings.seed
  )
  config = NameConfig(
    kind='mlp',
    vocab_size=words.vocab_size,
    length=words.length,
    context=settings.context,
    embed_dim=settings.embed_dim,
  )
  executor, part = sections.read_executor(run.config), settings.part
  if part or executor.kind != 'here':
    with progress_bar(f'{len(trials)} trials', len(trials), unit='trials') as advance:
      losses = hyperparameter_search.search_in_parts(
        trials, words, config, run.workdir / 'search', part=part or math.ceil(len(trials) / (executor.workers or 2)),
        steps=settings.steps, batch_size=settings.batch_size, config=executor, on_part=advance,
      )  # fmt: skip
  else:
    with progress_bar(f'{len(trials)} trials', settings.steps, unit='steps') as advance:
      losses = hyperparameter_search.search(
        trials, words, config, steps=settings.steps, batch_size=settings.batch_size, on_steps=advance
      )
  finder = hyperparameter_search.find_learning_rate(words, config)
  order = np.argsort(losses, kind='stable')
  run.print(f'{"validation loss":>16} {"learning rate":>14} {"units":>6} {"seed":>5}')
  for i in order[:10]:
    run.print(f'{losses[i]:16.4f} {trials.learning_rate[i]:14.3g} {trials.width[i]:6d} {trials.seed[i]:5d}')
  run.print(f'{np.isinf(losses).sum()} of {len(trials)} diverged; the learning-rate finder says {finder[2]:.2g}')
  picture = run.workdir / 'plots' / 'search.png'
  loss_charts.search(trials, losses, finder, picture)
  columns = {'val_loss': losses, 'learning_rate': trials.learning_rate, 'width': trials.width, 'seed': trials.seed}
  rows = [{name: column[i].item() for name, column in columns.items()} for i in order if np.isfinite(losses[i])]
  sealed.write_file(run.workdir / 'search.json', lambda target: files.write_json(target, rows))
  run.print(f'wrote {picture} and search.json')


def diagnose(run: contract.Run) -> None:
  """Activations, gradients and update ratios of the MLP with bad and good initial weights and with batch norm."""
  words, settings = open_words(run), run.config.diagnose
  plain = NameConfig('mlp', words.vocab_size, words.length, embed_dim=10, hidden_dim=200, kaiming=True)
  normed = dataclasses.replace(plain, norm=True)
  variants = {'naive weights': (plain, True), 'Kaiming': (plain, False), 'batch norm': (normed, False)}
  found = {
    name: statistics.watch(words, config, naive=naive, learning_rate=settings.learning_rate, steps=settings.steps)
    for name, (config, naive) in variants.items()
  }
  run.print(f'{"":<16} {"first loss":>10} {"last":>6} {"saturated":>10} {"dead units":>11}  log10 update/weight')
  for name, each in found.items():
    ratios = ' '.join(f'{path} {values[-100:].mean():.1f}' for path, values in each.update_ratios.items())
    run.print(
      f'{name:<16} {each.losses[0]:10.2f} {each.losses[-50:].mean():6.3f} {each.saturated_share[0]:10.1%} '
      f'{each.dead_units[0]:11d}  {ratios}'
    )
  picture = run.workdir / 'plots' / 'diagnose.png'
  loss_charts.statistics(found, picture)
  run.print(f'wrote {picture}')


_HEAD = f'{"model":<22} {"validation":>10} {"test":>7} {"published":>10} {"parameters":>11} {"steps":>7} {"steps/s":>8}'


def _line(name: str, rows: Sequence[ladder.Row], published: float | None) -> str:
  val, test = ([getattr(row, field) for row in rows] for field in ('val_loss', 'test_loss'))
  spread = f'  {min(val):.3f} to {max(val):.3f} over {len(rows)} seeds' if len(rows) > 1 else ''
  rate = np.mean([row.steps_per_second for row in rows])
  return (
    f'{name:<22} {np.mean(val):10.4f} {np.mean(test):7.4f} {f"{published:.2f}" if published else "":>10} '
    f'{rows[0].num_params:11,} {rows[0].steps:7,} {f"{rate:,.0f}" if rate else "":>8}{spread}'
  )


def _rungs(config: Any) -> dict[str, Any]:
  """The settings of each rung of config.ladder, in its order."""
  unknown = next((name for name in config.ladder if name not in config.models), None)
  if unknown is not None or not config.ladder:
    raise UserError(f'config.ladder names {unknown!r}, which config.models does not have: {", ".join(config.models)}')
  return {name: config.models[name] for name in config.ladder}


def open_words(run: contract.Run) -> WordList:
  """The words that the config names, in their splits."""
  return WordList.split(*load_words(run.config.data.source), run.config.data.split_seed)


def programs(config: Any) -> list[Program]:
  """What --mode=compile compiles: the training of every model of the ladder that is trained. Reads the words."""
  words = WordList.split(*load_words(config.data.source), config.data.split_seed)
  found = []
  for name, settings in _rungs(config).items():
    if settings.get('kind') == rungs.COUNTED:
      continue
    train = _train_config(config, settings, config.seeds[0])
    encoded = words.encode(words.train[:1])
    batch = {key: jax.ShapeDtypeStruct((train.batch_size, *x.shape[1:]), x.dtype) for key, x in encoded.items()}
    model = rungs.model_config(settings, words)
    found.append(train_program(task.name_task(model, batch_size=train.batch_size), train, batch, f'train {name}'))
  return found


def _folder(run: contract.Run, name: str, seed: int) -> Any:
  return run.workdir / 'models' / (name if seed == run.config.seeds[0] else f'{name}_seed{seed}')


def _train_config(config: Any, settings: Mapping[str, Any], seed: int) -> TrainConfig:
  """What every rung has in common, with this rung's own steps, batch size, rate and the like."""
  values = config.train.to_dict() | {'seed': seed}
  for name in rungs.TRAINING:
    values[name] = settings.get(name, values[name])
  optimizer = dict(values['optimizer'])
  for name in rungs.OPTIMIZER:
    optimizer[name] = settings.get(name, optimizer[name])
  if optimizer['final_learning_rate'] < 0:
    optimizer['final_learning_rate'] = 0.02 * optimizer['learning_rate']
  values['optimizer'] = optimizer
  return from_mapping(TrainConfig, values, 'train')


def open_models(run: contract.Run, words: WordList) -> dict[str, ladder.Trained]:
  """The rungs of a finished run, in the order of its ladder."""
  seed = run.config.seeds[0]
  return {
    name: ladder.load_rung(settings, words, _folder(run, name, seed)) for name, settings in _rungs(run.config).items()
  }


def _sample(run: contract.Run, words: WordList) -> dict[str, list[str]]:
  """Makes words with every model, prints the first and writes all to samples.txt."""
  settings = run.config.sample
  known = set(words.train)
  made, lines = {}, []
  for name, model in open_models(run, words).items():
    made[name] = model.make(settings.number, settings.seed)
    shown = ' '.join(f'[{word}]' if word in known else word for word in made[name][: settings.shown])
    lines.append(f'{name:<22} {novel_share(made[name], words):6.1%} new   {shown}')
  run.print('\n' + '\n'.join([f'{settings.number} words each; those of the training list in brackets', *lines]))
  files.write_text(run.workdir / 'samples.txt', '\n'.join(f'{name}: {" ".join(made[name])}' for name in made) + '\n')
  return made


def _summary(result: Mapping[str, Any]) -> str:
  best = min(result['val_loss'], key=result['val_loss'].get)
  return (
    f'best is {best} with {result["test_loss"][best]:.4f} nats a character on the test words, '
    f'{result["novel_share"]:.0%} of its words are new, {result["train_seconds"]:.0f} s of training'
  )


def _define_flags(values: flags.FlagValues) -> None:
  flags.DEFINE_string('word', '', 'word to score, or several with commas (--mode=score)', flag_values=values)
  compile_mode.define_flags(values)


def _idle(run: contract.Run) -> dict[str, str]:
  config = run.config
  idle = sections.idle_cluster(config)
  if not config.ladder or not {*config.ladder} <= {*config.models}:
    return idle  # which is a mistake of its own
  unused = (name for name in config.models if name not in config.ladder)
  return idle | {f'models.{name}': f'config.ladder has no {name}' for name in unused}


_TRAINED = ('data', 'seeds', 'models')  # what the rungs were trained with
MODES = {
  'train': contract.Mode(train, ('data', 'seeds', 'ladder', 'models', 'train', 'sample')),
  'sample': contract.Mode(sample, ('sample', 'ladder'), kept=_TRAINED),
  'score': contract.Mode(score, ('ladder',), kept=_TRAINED, flags=('word',)),
  'search': contract.Mode(search_, ('data', 'search', *sections.EXECUTOR)),
  'diagnose': contract.Mode(diagnose, ('data', 'diagnose')),
  'compile': compile_mode.mode(programs, ('data', 'seeds', 'ladder', 'models', 'train')),
}


def _check_rung(values: Mapping[str, Any], name: str) -> None:
  """The sizes of a rung's model and what its training changes; what the words decide is looked at with them."""
  others = {key: value for key, value in values.items() if key not in (*rungs.TRAINING, *rungs.OPTIMIZER, 'published')}
  if values.get('kind') == rungs.COUNTED:
    from_mapping(sections.keys(kind=str, order=Positive), {'order': 1, **others}, name)
  else:
    from_mapping(NameConfig, {**others, 'vocab_size': 2, 'length': 2}, name)
  from_mapping(sections.keys(published=float), {k: v for k, v in values.items() if k == 'published'}, name)
  trained = {key: values[key] for key in rungs.TRAINING if key in values}
  optimizer = {key: values[key] for key in rungs.OPTIMIZER if key in values}
  from_mapping(TrainConfig, {'steps': 1, 'batch_size': 1, **trained, 'optimizer': optimizer}, name)


def _check_train(values: Mapping[str, Any], name: str) -> None:
  optimizer = dict(values['optimizer'])
  if optimizer['final_learning_rate'] < 0:  # a fiftieth of the rung's own
    optimizer['final_learning_rate'] = 0.0
  from_mapping(TrainConfig, {**values, 'optimizer': optimizer}, name)


SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(seeds=Numbers, ladder=Names, executor=sections.EXECUTOR_KIND),
  'data': sections.Words,
  'models.*': _check_rung,
  'train': _check_train,
  'sample': sections.NewWords,
  'search': sections.Search,
  'diagnose': sections.Diagnosis,
  'cluster': sections.CLUSTER,
}
RENAMED = {'--config.words': '--config.data.source', '--config.split_seed': '--config.data.split_seed'}

CLASSES = (
  ('models.*', NameConfig),
  ('models.*', TrainConfig),
  ('models.*', OptimizerConfig),
  ('search', NameConfig),
  ('search', TrainConfig),
  ('cluster', ExecutorConfig),
)


def main(argv: Sequence[str] | None = None) -> int:
  return contract.launch(
    'makemore',
    MODES,
    'quickstart',
    define_flags=_define_flags,
    renamed=RENAMED,
    idle=_idle,
    sections=SECTIONS,
    classes=CLASSES,
    argv=argv,
  )


if __name__ == '__main__':
  sys.exit(main())
