"""Pictures of the ladder."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlsd_jax import figures
from mlsd_jax.makemore.hyperparameter_search import Trials
from mlsd_jax.makemore.statistics import Statistics

_PUBLISHED = figures.INK


def ladder(losses: Mapping[str, float], published: Mapping[str, float], guess: float, path: pathlib.Path) -> None:
  """Bars of validation loss by model from zero, beside published ones and the loss of a uniform guess; a PNG."""
  with figures.figure(path, size=(9, 1.4 + 0.42 * len(losses)), font_size=9, grid='x') as (_, ((axes,),)):
    names = list(losses)[::-1]
    places = np.arange(len(names))
    axes.barh(places, [losses[name] for name in names], 0.62, color=figures.OURS, label='here')
    for place, name in zip(places, names, strict=True):
      beside: Any = dict(textcoords='offset points', va='center')
      axes.annotate(f'{losses[name]:.3f}', (losses[name], place), (-4, 0), ha='right', color='white', **beside)
      if name in published:
        axes.plot([published[name]] * 2, [place - 0.4, place + 0.4], color=_PUBLISHED, linewidth=2.2)
        right = max(published[name], losses[name])  # beside whichever ends later, so that it never lies on a bar
        axes.annotate(f'{published[name]:.2f}', (right, place), (6, 0), color=_PUBLISHED, **beside)
    if published:
      axes.plot([], [], color=_PUBLISHED, linewidth=2.2, label='published')
    axes.axvline(guess, color=figures.GREY, linestyle=figures.DASHED, linewidth=1)
    axes.annotate(f'uniform guess {guess:.2f}', (guess, places[-1] + 0.6), (-4, 0), ha='right', **beside)
    worst = max([guess, *losses.values(), *published.values()])
    axes.set(xlim=(0, 1.08 * worst), ylim=(-0.7, places[-1] + 1))
    axes.set(title='makemore: validation loss by model', xlabel='nats a character')
    axes.set_yticks(places, [readable(name) for name in names])
    axes.legend(loc='lower right', bbox_to_anchor=(1, 1), ncols=2)


_NAMES = {'ngram': 'n-grams', 'bow': 'bag of words', 'wavenet': 'WaveNet', 'transformer': 'Transformer'}
_ACRONYMS = ('mlp', 'rnn', 'gru', 'lstm')


def readable(name: str) -> str:
  """A rung's name as a person writes it: 'mlp_norm_tuned' -> 'MLP, norm, tuned'."""
  words = [word.upper() if word in _ACRONYMS else _NAMES.get(word, word) for word in name.split('_')]
  return ', '.join(words)


def scores(word: str, losses: Mapping[str, Sequence[float]], path: pathlib.Path) -> None:
  """What each letter of `word` and its end cost each model: a table of colours; a PNG."""
  names = list(losses)
  values = np.array([losses[name] for name in names])
  size = (2.2 + 0.75 * (len(word) + 1), 1.2 + 0.36 * len(names))
  with figures.figure(path, size=size, font_size=9, grid='none') as (_, ((axes,),)):
    axes.imshow(values, cmap='OrRd', vmin=0, vmax=max(4.0, values.max()), aspect='auto')
    for row, line in enumerate(values):
      for column, value in enumerate(line):
        color = 'white' if value > 0.65 * max(4.0, values.max()) else figures.INK
        axes.text(column, row, f'{value:.2f}', ha='center', va='center', color=color, fontsize=8)
    axes.set_xticks(range(len(word) + 1), [*word, 'end'])
    axes.set_yticks(range(len(names)), [f'{readable(name)}  {sum(losses[name]):.1f}' for name in names])
    axes.set_title(f'{word}: nats by letter, in all beside the name')
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def search(
  trials: Trials, losses: np.ndarray, finder: tuple[np.ndarray, np.ndarray, float], path: pathlib.Path
) -> None:
  """Validation loss by learning rate of every trial, and the learning-rate finder's curve below; a PNG."""
  with figures.figure(path, 2, size=(8.5, 7), font_size=9) as (_, ((above,), (below,))):
    worst = np.quantile(losses[np.isfinite(losses)], 0.95) if np.isfinite(losses).any() else 4.0
    shown = np.minimum(losses, worst)
    dots = above.scatter(trials.learning_rate, shown, c=trials.width, cmap='viridis', s=16)
    above.figure.colorbar(dots, ax=above, label='hidden units')
    best = int(losses.argmin())
    above.annotate(
      f'{losses[best]:.3f} at {trials.learning_rate[best]:.2g}',
      (trials.learning_rate[best], losses[best]),
      (0, -16),
      textcoords='offset points',
      ha='center',
      color=figures.OURS,
      fontweight='bold',
    )
    above.set(
      xscale='log', xlabel='learning rate', ylabel='validation loss, nats', title=f'{len(trials)} trials at once'
    )
    above.set_ylim(losses[best] - 0.12 * (worst - losses[best]), worst * 1.01)
    rates, curve, suggestion = finder
    below.plot(rates, curve, color=figures.OURS)
    below.axvline(suggestion, color=figures.GREY, linestyle=figures.DASHED, linewidth=1)
    below.annotate(f'try {suggestion:.2g}', (suggestion, 4.0), (5, 0), textcoords='offset points', color=figures.GREY)
    below.set(xscale='log', xlabel='learning rate, rising as it trains', ylabel='training loss, nats')
    below.set(title='learning-rate finder', ylim=(curve.min() - 0.1, min(curve.max(), 5.0)))


def statistics(by_variant: Mapping[str, Statistics], path: pathlib.Path) -> None:
  """Activations, gradients, update ratios and losses of several variants, a row each; a PNG."""
  with figures.figure(path, len(by_variant), 4, size=(16, 3.1 * len(by_variant)), font_size=9) as (_, grid):
    for row, (name, found) in zip(grid, by_variant.items(), strict=True):
      bins = np.linspace(-1, 1, 61)
      for which, color, label in ((0, figures.GREY, 'at the start'), (1, figures.OURS, 'at the end')):
        row[0].hist(found.activations[which], bins, histtype='step', color=color, label=label, density=True)
      row[0].set(
        title=f'{readable(name)}: tanh outputs, {found.saturated_share[0]:.0%} saturated at the start', xlabel='output'
      )
      for path_, values in found.gradients.items():
        heights, edges = np.histogram(values, 80, density=True)
        row[1].plot(edges[:-1], heights, label=path_, linewidth=1)
      row[1].set(title='gradients by weight', yscale='log')
      for path_, values in found.update_ratios.items():
        row[2].plot(values, label=path_, linewidth=0.8)
      row[2].axhline(-3, color=figures.GREY, linestyle=figures.DASHED, linewidth=1)
      row[2].set(title='log10 of update over weight', ylim=(-5, 0), xlabel='step')
      row[3].plot(found.losses, color=figures.OURS, linewidth=0.8)
      row[3].set(
        title=f'loss: from {found.losses[0]:.1f} to {found.losses[-50:].mean():.2f}', ylim=(2, 6), xlabel='step'
      )
      for axes in row[:3]:
        axes.legend(fontsize=7)
