"""Pictures of what inspection.py finds. Each is a PNG, written atomically."""

import functools
import pathlib
from collections.abc import Sequence

import numpy as np

from mlsd_jax import figures
from mlsd_jax.language_model.inspection import HeadScores

_figure = functools.partial(figures.figure, dpi=100, font_size=9, grid='none', frame=True)


def attention(maps: np.ndarray, queries: Sequence[str], keys: Sequence[str], path: pathlib.Path, *, title: str) -> None:
  """One panel a head, a row of panels a layer: dark where a query (down) looks at a key (across).

  Args:
    maps: [N, H, T, S] weights.
    queries: the token at each of the T positions.
    keys: the token at each of the S positions.
  """
  layers, heads = maps.shape[:2]
  side = max(2.4, 0.11 * len(keys))
  tall = max(2.0, 0.11 * len(queries))
  with _figure(path, layers, heads, size=(side * heads + 0.4, (tall + 0.3) * layers + 0.5)) as (figure, axes):
    size = 7 if max(len(keys), len(queries)) <= 40 else 5
    for layer in range(layers):
      for head in range(heads):
        panel = axes[layer][head]
        image = panel.imshow(maps[layer, head], cmap='Blues', vmin=0, vmax=1, aspect='auto')
        panel.set_title(f'layer {layer}, head {head}')
        panel.set_xticks(range(len(keys)), _shown(keys), fontsize=size, family='monospace')
        panel.set_yticks(range(len(queries)), _shown(queries), fontsize=size, family='monospace')
        panel.tick_params(length=0, pad=1)
    figure.colorbar(image, ax=axes, shrink=0.6, pad=0.01, label='attention weight')
    figure.suptitle(title)


def head_scores(scores: HeadScores, path: pathlib.Path, *, title: str) -> None:
  """Induction and previous-token score of every head, beside what even attention gives."""
  layers, heads = scores.induction.shape
  kinds = (
    ('induction', scores.induction, scores.chance_induction),
    ('previous token', scores.previous, scores.chance_previous),
  )
  with _figure(path, 1, 2, size=(2 * max(3.4, 0.8 * heads) + 1, max(2.4, 0.75 * layers + 1.2))) as (figure, axes):
    for panel, (kind, values, chance) in zip(axes[0], kinds, strict=True):
      image = panel.imshow(values, cmap='Oranges', vmin=0, vmax=1, aspect='auto')
      for layer, head in np.ndindex(layers, heads):
        value = values[layer, head]
        panel.text(head, layer, f'{value:.2f}', ha='center', va='center', color='white' if value > 0.6 else figures.INK)
      panel.set(title=f'{kind} (even attention: {chance:.2f})', xlabel='head', ylabel='layer')
      panel.set_xticks(range(heads))
      panel.set_yticks(range(layers))
    figure.colorbar(image, ax=axes, shrink=0.9, label='share of attention')
    figure.suptitle(f'{title}: random {scores.first_loss:.2f} nats a token, repeated {scores.second_loss:.2f}')


def logit_lens(log_probs: np.ndarray, text: str, characters: Sequence[str], path: pathlib.Path, *, title: str) -> None:
  """The most probable next character behind each layer at each position; the colour is the true one's probability.

  Args:
    log_probs: [N + 1, T, V].
    text: the T + 1 characters read and to be predicted.
    characters: V of them.
  """
  states, length, _ = log_probs.shape
  truth = np.array([characters.index(character) for character in text[1:]])
  probability = np.exp(np.take_along_axis(log_probs, truth[None, :, None], axis=-1)[..., 0])
  names = ['embedding', *(f'after block {n}' for n in range(states - 1))]
  with _figure(path, 1, 1, size=(max(6.0, 0.26 * length + 2), 0.42 * states + 1.6)) as (figure, axes):
    panel = axes[0][0]
    image = panel.imshow(probability, cmap='Greens', vmin=0, vmax=1, aspect='auto')
    for state, position in np.ndindex(states, length):
      best = int(log_probs[state, position].argmax())
      panel.text(
        position,
        state,
        _shown([characters[best]])[0],
        ha='center',
        va='center',
        family='monospace',
        fontweight='bold' if best == truth[position] else 'normal',
        color='white' if probability[state, position] > 0.6 else figures.INK,
      )
    panel.set_yticks(range(states), names)
    panel.set_xticks(range(length), _shown(text[:-1]), family='monospace')
    above = panel.secondary_xaxis('top')
    above.set_xticks(range(length), _shown(text[1:]), family='monospace')
    above.tick_params(length=0, pad=1)
    panel.tick_params(length=0)
    panel.set(xlabel="character read; above: the one that follows. In the cells: each layer's guess, bold where right")
    figure.colorbar(image, ax=axes, label='probability of\nthe true character', aspect=12)
    figure.suptitle(title)


def _shown(characters: Sequence[str]) -> list[str]:
  return [{' ': '\u2423', '\n': '\u21b5', '$': r'\$'}.get(character, character) for character in characters]
