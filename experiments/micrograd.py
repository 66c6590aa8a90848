"""micrograd: a scalar autograd engine, its compiler, and what an MLP of scalars learns.

python -m experiments.micrograd                                              # moons, circles, spiral
python -m experiments.micrograd --config.datasets="('moons',)" --config.engine=interpreted --workdir=runs/plain
python -m experiments.micrograd --config.spiral.hidden="(32, 32)" --config.spiral.steps=6000 --workdir=runs/wide
"""

import pathlib
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np

from experiments import contract, sections
from mlsd_jax import files, sealed
from mlsd_jax.autograd import classifier, datasets, drawing, pictures
from mlsd_jax.autograd.engine import Value
from mlsd_jax.data.reading_progress import progress_bar
from mlsd_jax.errors import UserError
from mlsd_jax.schema import Names, Positive, at_least, from_mapping

FREE = ('draw_with', 'gif_frames')
METRICS = 'metrics.jsonl'


def train(run: contract.Run) -> None:
  """Trains on each data set, draws the boundary, draws a neuron, times interpreter and compiler."""
  config = run.config
  _check(config)
  run.check(FREE)
  finished = run.result()
  if finished:
    for path in (run.workdir / METRICS, *(_parameters(run, name) for name in config.datasets)):
      sealed.check_file(path)
    return run.print_finished(_summary(finished))
  run.claim(FREE)
  accuracy, train_accuracy, seconds, records = {}, {}, {}, []
  for name in config.datasets:
    began = time.perf_counter()
    history, accuracy[name] = _train_one(run, name)
    train_accuracy[name] = _share(history.accuracies[-1])
    seconds[name] = history.prepare_seconds + history.run_seconds
    steps = sorted({*range(0, len(history.losses), config.log_every), len(history.losses) - 1})
    for step in steps:
      loss, right = history.losses[step], history.accuracies[step]
      records.append({'dataset': name, 'step': step, 'loss': float(loss), 'accuracy': _share(right)})
    run.print(f'  drawn; {time.perf_counter() - began:.1f} s in all')
  drawn_by = drawing.write_svg(_neuron(config.seed), run.workdir / 'plots' / 'neuron.svg', engine=config.draw_with)
  run.print(f'neuron.svg drawn by {"graphviz" if drawn_by == "dot" else "our own layout"}')
  speed = _speed(run)
  sealed.write_file(run.workdir / METRICS, lambda target: files.write_json_lines(target, records))
  run.write_result({'accuracy': accuracy, 'train_accuracy': train_accuracy, 'train_seconds': seconds, **speed})
  run.print(f'{run.workdir}: {_summary(run.result() or {})}')
  return None


def _train_one(run: contract.Run, name: str) -> tuple[classifier.History, float]:
  """Trains, saves and draws one data set; its history and the accuracy on fresh points."""
  from mlsd_jax.autograd import compiled_classifier  # brings JAX, which neither --help nor a refused config needs

  config = run.config
  settings = _settings(config, name)
  options = config[name]
  points, labels = datasets.make(name, options.points, options.noise, config.seed)
  fresh, fresh_labels = datasets.make(name, config.test_points, options.noise, config.seed + 1)
  model = classifier.network(settings.hidden, config.seed)
  if config.engine == 'compiled':
    history = compiled_classifier.train_compiled(model, points, labels, settings)
    how = (
      f'{history.num_nodes:,} nodes as {history.num_operations} array operations, recorded and compiled in '
      f'{history.prepare_seconds:.2f} s, {settings.steps:,} steps in {history.run_seconds:.3f} s'
    )
  else:
    with progress_bar(name, settings.steps) as advance:
      history = classifier.train_interpreted(model, points, labels, settings, lambda *_: advance(1))
    how = f'{settings.steps:,} steps, node by node, in {history.run_seconds:.1f} s'
  scores = compiled_classifier.Scorer(settings.hidden)
  accuracy = _share(np.mean((scores(history.parameters[-1], fresh) > 0) == (fresh_labels > 0)))
  run.print(f'{name}: {how}')
  run.print(
    f'  loss {history.losses[0]:.4f} to {history.losses[-1]:.4f}, {history.accuracies[-1]:.1%} of {len(points)} '
    f'training points right, {accuracy:.2%} of {len(fresh):,} fresh ones'
  )
  layers = [2, *settings.hidden, 1]
  saved = {'layers': layers, 'parameters': history.parameters[-1].tolist()}
  sealed.write_file(_parameters(run, name), lambda target: files.write_json(target, saved))
  scene = pictures.Scene(name, points, labels, history, scores)
  title = f'MLP {layers} on {name}: {accuracy:.1%} of {len(fresh):,} fresh points right'
  pictures.moments(scene, run.workdir / 'plots' / f'{name}.png', title=title)
  pictures.animation(scene, run.workdir / 'plots' / f'{name}.gif', frames=config.gif_frames)
  return history, accuracy


def _parameters(run: contract.Run, name: str) -> pathlib.Path:
  return run.workdir / 'checkpoints' / f'{name}.json'


def _neuron(seed: int) -> Value:
  """A neuron of two inputs on the first of the moons' points that its relu lets through, after backward."""
  neuron = classifier.network((1,), seed).layers[0].neurons[0]
  points, _ = datasets.make('moons', 100, 0.1, seed)
  outs = ((point, neuron([Value(number) for number in point])) for point in points)
  point = next((point for point, out in outs if out.data > 0), points[0])
  inputs = [Value(number, label=f'x{i}') for i, number in enumerate(point)]
  for i, weight in enumerate(neuron.w):
    weight.label = f'w{i}'
  neuron.b.label = 'b'
  out = neuron(inputs)
  out.label = 'out'
  out.backward()
  return out


def _speed(run: contract.Run) -> dict[str, float]:
  """The same training, the moons', by the interpreter and compiled: seconds a step, and the ratio."""
  from mlsd_jax.autograd import compiled_classifier

  config = run.config
  settings = _settings(config, 'moons')
  points, labels = datasets.make('moons', config.moons.points, config.moons.noise, config.seed)
  few = classifier.ClassifierConfig(**(vars(settings) | {'steps': config.interpreted_steps}))
  plain = classifier.train_interpreted(classifier.network(settings.hidden, config.seed), points, labels, few)
  fast = compiled_classifier.train_compiled(classifier.network(settings.hidden, config.seed), points, labels, settings)
  interpreted, compiled = plain.run_seconds / few.steps, fast.run_seconds / settings.steps
  whole = interpreted * settings.steps / (fast.prepare_seconds + fast.run_seconds)
  run.print(
    f'moons, a step: interpreted {1e3 * interpreted:.1f} ms, compiled {1e3 * compiled:.3f} ms, '
    f'ratio {interpreted / compiled:.0f}; {whole:.1f} over {settings.steps:,} steps with recording and compiling'
  )
  return {
    'speedup_compiled': interpreted / compiled,
    'speedup_compiled_with_preparation': whole,
    'interpreted_ms_per_step': 1e3 * interpreted,
    'compiled_ms_per_step': 1e3 * compiled,
  }


def _settings(config: Any, name: str) -> classifier.ClassifierConfig:
  options = config[name]
  names = ('steps', 'learning_rate', 'momentum', 'l2')
  return classifier.ClassifierConfig(hidden=tuple(options.hidden), **{each: options[each] for each in names})


def _check(config: Any) -> None:
  """All of the config, before anything runs."""
  if not config.datasets:
    raise UserError(f'config.datasets is empty; there are {", ".join(datasets.SHAPES)}')
  for name in config.datasets:
    if name not in datasets.SHAPES:
      raise UserError(f'config.datasets names {name!r}; there are {", ".join(datasets.SHAPES)}')
  for name in {*config.datasets, 'moons'}:
    _settings(config, name)
    datasets.make(name, config[name].points, config[name].noise, config.seed)
  drawing.check_engine(config.draw_with)
  if config.engine not in ('compiled', 'interpreted'):
    raise UserError(f'config.engine is compiled or interpreted, not {config.engine!r}')


def _share(value: Any) -> float:
  return round(float(value), 6)


def _summary(result: dict[str, Any]) -> str:
  shown = ', '.join(f'{name} {value:.2%}' for name, value in result['accuracy'].items())
  return f'{shown} of fresh points right; compiled {result["speedup_compiled"]:.0f} times as fast as interpreted'


def _idle(run: contract.Run) -> dict[str, str]:
  used = {*run.config.datasets, 'moons'}  # the moons are timed, too
  if not used <= {*datasets.SHAPES} or not run.config.datasets:
    return {}  # which is a mistake of its own
  return {name: f'config.datasets has no {name}' for name in datasets.SHAPES if name not in used}


_OWN = ('datasets', 'engine', 'seed', 'test_points', 'interpreted_steps', 'log_every', 'gif_frames', 'draw_with')
MODES = {'train': contract.Mode(train, (*_OWN, *datasets.SHAPES))}

_SET = sections.keys(points=Annotated[int, at_least(2)], noise=float)
SECTIONS: dict[str, sections.Section] = {
  '': sections.keys(
    datasets=Names,
    engine=str,
    seed=int,
    test_points=Positive,
    interpreted_steps=Positive,
    log_every=Positive,
    gif_frames=Positive,
    draw_with=str,
  ),
  **dict.fromkeys(datasets.SHAPES, lambda values, name: _check_set(values, name)),
}


def _check_set(values: Mapping[str, Any], name: str) -> None:
  of_set = ('points', 'noise')
  from_mapping(_SET, {key: values[key] for key in of_set}, name)
  from_mapping(classifier.ClassifierConfig, {key: value for key, value in values.items() if key not in of_set}, name)


def main(argv: Sequence[str] | None = None) -> int:
  return contract.launch('micrograd', MODES, 'quickstart', idle=_idle, sections=SECTIONS, argv=argv)


if __name__ == '__main__':
  sys.exit(main())
