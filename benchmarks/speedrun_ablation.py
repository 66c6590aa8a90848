"""What each ingredient of the speedrun brings: alone taken out, alone put in, at equal tokens and at equal time.

    python benchmarks/speedrun_ablation.py               # every run that is missing, then the tables and the chart
    python benchmarks/speedrun_ablation.py --cells=1     # the next missing run alone, for a machine that is shared
    python benchmarks/speedrun_ablation.py --cells=0     # the tables of what there is, and the chart
    python benchmarks/speedrun_ablation.py --held=tokens --seeds=1

A cell is one run: a variant, a seed, and tokens or time held equal. What is finished lies in --out, and the next call
goes on behind it, the seeds one after the other. At equal tokens all variants take the speedrun's steps, and the losses
do not depend on what else the machine does. At equal time a variant takes as many steps as fit into the processor time
of the speedrun's: the ratio of their steps is measured once, in turn, as a median over rounds, before the first such
cell. (Processor time hardly changes on a busy machine; still, --retime on a quiet one before the figures are believed.)
"""

import argparse
import pathlib
import statistics
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from mlsd_jax.training import devices

devices.configure_backend(bfloat16=False)

import speedrun
from ml_collections import ConfigDict

from experiments import config_files
from mlsd_jax import figures, files
from mlsd_jax.language_model.text import Text, open_prepared
from mlsd_jax.language_model.text_preparation import prepare_text

ADAMW = {
  'train.optimizer.name': 'adamw', 'train.optimizer.learning_rate': 0.004, 'train.optimizer.clip_norm': 1.0,
  'train.optimizer.beta1': 0.9, 'train.optimizer.beta2': 0.99, 'train.optimizer.epsilon': 1e-8,
}  # fmt: skip
# What makes the speedrun, each as what it is without, in the order in which the tutorial puts them in.
INGREDIENTS: dict[str, dict[str, Any]] = {
  'Muon': ADAMW,
  'WSD schedule': {'train.optimizer.schedule': 'cosine'},
  'own head': {
    'model.tied_head': True, 'model.embedding_stddev': 0.02, 'train.optimizer.embedding_learning_rate': 0.016,
  },
  'embedding norm': {'model.embedding_norm': False, 'model.embedding_stddev': 0.02},
  'zero outputs': {'model.zero_outputs': False},
  'QK norm': {'model.qk_norm': False, 'model.attention_scale': 0.0},
  'squared ReLU': {'model.activation': 'swiglu'},
  'value residual': {'model.value_residual': False},
}  # fmt: skip
# What the speedrun does without, put in.
MORE: dict[str, dict[str, Any]] = {'value embeddings': {'model.value_embeddings': (1, 2)}}
HELD = ('tokens', 'time')
DOCS = pathlib.Path(__file__).parent.parent / 'docs'
OUT, CHART = DOCS / 'reference' / 'speedrun_ablation.json', DOCS / 'images' / 'speedrun_ablation.png'


class Cell(NamedTuple):
  """One run: seed, what is held equal, which variant."""

  seed: int
  held: str
  name: str

  @property
  def key(self) -> str:
    return f'{self.name}, equal {self.held}, seed {self.seed}'


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--seeds', type=int, default=3)
  parser.add_argument('--steps', type=int, default=0, help='of the speedrun; 0 is those of its config')
  parser.add_argument('--cells', type=int, default=-1, help='runs before this call ends; -1 is all that are missing')
  parser.add_argument('--held', choices=HELD, nargs='*', default=list(HELD), help='the runs to do; all are told')
  parser.add_argument('--rounds', type=int, default=7, help='of timing')
  parser.add_argument('--retime', action='store_true', help='measure the steps anew; runs at equal time are done again')
  parser.add_argument('--out', type=pathlib.Path, default=OUT)
  parser.add_argument('--chart', type=pathlib.Path, default=CHART)
  options = parser.parse_args()
  done: dict[str, Any] = files.read_json(options.out) if options.out.exists() else {}
  made = variants(options.steps)
  steps = made['speedrun'].train.steps
  if done.setdefault('steps', steps) != steps:
    raise SystemExit(f'{options.out} is of {done["steps"]} steps, not of {steps}: name another --out')
  if options.retime:
    done = {key: value for key, value in done.items() if 'equal time' not in key and key != 'ratios'}
  cells = [Cell(seed, held, name) for seed in range(options.seeds) for held in HELD for name in made]
  missing = [cell for cell in cells if cell.key not in done and cell.held in options.held]
  if options.cells:
    text = open_prepared(prepare_text(made['speedrun'].data))
    for cell in missing[: None if options.cells < 0 else options.cells]:
      run(cell, made, text, done, options)
  for held in HELD:
    tell(held, made, done, options)
  draw(made, done, options)


def run(cell: Cell, made: Mapping[str, ConfigDict], text: Text, done: dict[str, Any], options: Any) -> None:
  if cell.held == 'time' and 'ratios' not in done:
    sides = {name: (config, text) for name, config in made.items()}
    done['ratios'] = speedrun.time_in_turn(sides, options.rounds, clock=time.process_time)
  config = made[cell.name].copy_and_resolve_references()
  if cell.held == 'time':
    config.train.steps = max(1, round(config.train.steps / done['ratios'][cell.name]))
  same = Cell(cell.seed, 'tokens', cell.name).key  # of the speedrun itself, both are one
  is_same = cell.held == 'time' and config.train.steps == done['steps'] and same in done
  done[cell.key] = done[same] if is_same else speedrun.train(config, text, cell.seed)
  files.write_json(options.out, done)
  print(f'{cell.key}: {done[cell.key]:.4f} after {config.train.steps} steps', flush=True)


def variants(steps: int = 0) -> dict[str, ConfigDict]:
  """The speedrun; without each ingredient; none of them; GPT-2 itself; each alone; what it does without, put in."""

  def variant(*changes: Mapping[str, Any]) -> ConfigDict:
    config = config_files.load_config('configs/gpt2/speedrun.py')[1]
    config.train.steps = steps or config.train.steps
    for each in changes:
      config.update_from_flattened_dict(each)
    return config

  every = list(INGREDIENTS)
  without = lambda *names: variant(*[INGREDIENTS[name] for name in names])
  gpt2 = without(*every)
  gpt2.model = config_files.load_config('configs/gpt2/quickstart.py')[1].model
  return {
    'speedrun': variant(),
    **{f'without {name}': without(name) for name in every},
    'none of them': without(*every),
    'GPT-2': gpt2,
    **{f'{name} alone': without(*[other for other in every if other != name]) for name in every},
    **{f'with {name}': variant(change) for name, change in MORE.items()},
  }


def losses(name: str, held: str, done: Mapping[str, Any], seeds: int) -> list[float]:
  keys = [Cell(seed, held, name).key for seed in range(seeds)]
  return [done[key] for key in keys if key in done]


def difference(first: str, second: str, held: str, done: Mapping[str, Any], seeds: int) -> list[float]:
  """Loss of the first less that of the second, of each seed that has both."""
  pairs = [[Cell(seed, held, name).key for name in (first, second)] for seed in range(seeds)]
  return [done[a] - done[b] for a, b in pairs if a in done and b in done]


def tell(held: str, made: Mapping[str, ConfigDict], done: Mapping[str, Any], options: Any) -> None:
  """A line a variant: its loss, and how far it is from the one that it is a change of."""
  if not any(losses(name, held, done, options.seeds) for name in made):
    return
  print(
    f'\nequal {held}, {done["steps"]:,} steps of the speedrun\n{"":<26}{"loss":>8}{"change":>9}{"+-":>8}{"runs":>6}'
  )
  for name in made:
    found = losses(name, held, done, options.seeds)
    if not found:
      continue
    of = 'none of them' if name.endswith(' alone') or name == 'GPT-2' else 'speedrun'
    change = difference(name, of, held, done, options.seeds)
    spread = f'{statistics.stdev(change):8.4f}' if len(change) > 1 else ' ' * 8
    shown = f'{statistics.mean(change):+9.4f}{spread}' if change and name != of else ' ' * 17
    cost = f"  a step {done['ratios'][name]:.2f} of the speedrun's" if 'ratios' in done else ''
    print(f'{name:<26}{statistics.mean(found):8.4f}{shown}{len(found):6}{cost}')


def draw(made: Mapping[str, ConfigDict], done: Mapping[str, Any], options: Any) -> None:
  """What the loss rises by without each ingredient, and what each alone takes from none of them, as far as all ran."""
  gains = {held: _gains(held, done, options.seeds) for held in HELD}
  gains = {held: sides for held, sides in gains.items() if sides}
  if not gains:
    return
  path, names = options.chart, list(INGREDIENTS)
  with figures.figure(path, 1, len(gains), size=(6.4 * len(gains), 4.4), grid='x', sharey=True) as (_, (axes_row,)):
    for (held, sides), axes in zip(gains.items(), axes_row, strict=True):
      thickness = 0.8 / len(sides)
      for number, (label, (color, values)) in enumerate(sides.items()):
        means = [statistics.mean(each) for each in values]
        spread = [statistics.stdev(each) if len(each) > 1 else 0.0 for each in values]
        places = [row + thickness * (number - (len(sides) - 1) / 2) for row in range(len(names))]
        style = {'color': color, 'label': label, 'error_kw': {'lw': 1, 'ecolor': figures.INK}}
        axes.barh(places, means, thickness, xerr=spread if any(spread) else None, **style)
      axes.set_yticks(range(len(names)), names)
      axes.axvline(0.0, color=figures.INK, linewidth=0.8)
      axes.set(
        xlabel='validation loss, nats a token',
        title=f'Equal {held}' if len(sides) > 1 else f'Equal {held}: {next(iter(sides))}',
      )
    axes_row[0].invert_yaxis()
    if any(len(sides) > 1 for sides in gains.values()):
      axes_row[-1].legend(loc='best')
  print(f'wrote {path}')


def _gains(held: str, done: Mapping[str, Any], seeds: int) -> dict[str, tuple[str, list[list[float]]]]:
  """Color and gains of each ingredient, of those of the two ways to see them for which every run is there."""
  gain = lambda first, second: difference(first, second, held, done, seeds)
  sides = {
    'lost without it': (figures.OURS, [gain(f'without {name}', 'speedrun') for name in INGREDIENTS]),
    'won by it alone': (figures.PALETTE[0], [gain('none of them', f'{name} alone') for name in INGREDIENTS]),
  }
  return {label: side for label, side in sides.items() if all(side[1])}


if __name__ == '__main__':
  main()
