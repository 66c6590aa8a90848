"""micrograd's own demo, 100 steps on moons, in one run: the micrograd package, our interpreter, our compiler.

    uv run --with micrograd python benchmarks/micrograd.py

All start from the same weights and the same points. The package takes about two minutes; --steps=N makes N of the steps
and says so. Without the package only ours are timed.
"""

import argparse
import importlib.util
import pathlib
import random
import sys
import time

import numpy as np
import record

from mlsd_jax.autograd import classifier, compiled_classifier, datasets

# `import micrograd` is to find the package, not this file.
sys.path = [each for each in sys.path if pathlib.Path(each).resolve() != pathlib.Path(__file__).resolve().parent]


def package(
  points: np.ndarray, labels: np.ndarray, settings: classifier.ClassifierConfig, seed: int
) -> tuple[float, float]:
  """Seconds and last loss of the package, in its own idiom."""
  from micrograd.engine import Value
  from micrograd.nn import MLP

  random.seed(seed)
  model = MLP(2, [*settings.hidden, 1])
  began = time.perf_counter()
  for rate in settings.rates().tolist():
    scores = [model([Value(x), Value(y)]) for x, y in points.tolist()]
    margins = [(1 + -label * score).relu() for label, score in zip(labels.tolist(), scores, strict=True)]
    loss = sum(margins) * (1.0 / len(margins)) + settings.l2 * sum(p * p for p in model.parameters())
    model.zero_grad()
    loss.backward()
    for parameter in model.parameters():
      parameter.data -= rate * parameter.grad
  return time.perf_counter() - began, loss.data


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--steps', type=int, default=100)
  parser.add_argument('--seed', type=int, default=1)
  options = parser.parse_args()
  points, labels = datasets.make('moons', 100, 0.1, options.seed)
  settings = classifier.ClassifierConfig(steps=options.steps)
  print(f'moons, 100 points, MLP(2, [16, 16, 1]), {options.steps} steps')

  fresh = lambda: classifier.network(settings.hidden, options.seed)
  compiled = compiled_classifier.train_compiled(fresh(), points, labels, settings)
  whole = compiled.prepare_seconds + compiled.run_seconds
  plain = classifier.train_interpreted(fresh(), points, labels, settings)
  sides = {
    'compiled, all': (whole, compiled.losses[-1]),
    'compiled, steps only': (compiled.run_seconds, compiled.losses[-1]),
    'interpreter': (plain.run_seconds, plain.losses[-1]),
  }
  if importlib.util.find_spec('micrograd'):
    sides['micrograd package'] = package(points, labels, settings, options.seed)
  else:
    print('the micrograd package is not installed: uv run --with micrograd python benchmarks/micrograd.py')
  for name, (seconds, loss) in sides.items():
    print(f'  {name:<22} {seconds:9.3f} s   last loss {loss:.15f}')
  print(f'  of compiled, recording and compiling are {compiled.prepare_seconds:.3f} s')
  print(f'  parameters, compiled and interpreted, differ by {np.abs(compiled.parameters - plain.parameters).max():.1e}')
  peer = sides.get('micrograd package')
  if peer:
    record.pair(f'micrograd, {options.steps} steps', [whole], [peer[0]], against='micrograd', unit='s')
    for name in list(sides)[:-1]:
      print(f'  micrograd package / {name}: {peer[0] / sides[name][0]:.1f} (above 1: ours is faster)')
  print(f'  interpreter / compiled, all: {plain.run_seconds / whole:.1f}')


if __name__ == '__main__':
  main()
