"""Hyperparameter search the JAX way: hundreds of trainings of the MLP side by side in one compiled program.

The trials differ in learning rate, width and the seed of their parameters, and see the same batches; so the first
layer of all trials of one width is one matrix product. An example is a place of a word: the characters before it and
the next.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlsd_jax.data.words import WordList
from mlsd_jax.errors import UserError
from mlsd_jax.executor import ExecutorConfig, map_parts
from mlsd_jax.executor.parts import fingerprint, numbered
from mlsd_jax.models import name_models
from mlsd_jax.models.name_models import NameConfig
from mlsd_jax.training import devices

_LOSSES = 'losses.npy'
_CHUNK = 250  # steps between two looks at the progress
_ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)

type Places = tuple[jax.Array, jax.Array]  # contexts int32 [M, K], the oldest character first; next characters [M]


@dataclasses.dataclass(frozen=True)
class Trials:
  """What varies, one entry a trial.

  Attributes:
    learning_rate: float32 [N].
    width: int32 [N] hidden units.
    seed: int32 [N] of the parameters.
  """

  learning_rate: np.ndarray
  width: np.ndarray
  seed: np.ndarray

  def __len__(self) -> int:
    return len(self.learning_rate)

  @classmethod
  def draw(cls, number: int, *, low: float, high: float, widths: tuple[int, ...], seed: int = 0) -> 'Trials':
    """Learning rates drawn evenly in the logarithm, widths evenly.

    Raises:
      UserError: no trial, no width, or bounds that are not 0 < low <= high < infinity.
    """
    if number < 1 or not widths or min(widths) < 1 or not 0 < low <= high < np.inf:
      raise UserError(f'cannot draw {number} trials with rates from {low} to {high} and widths {widths}')
    rng = np.random.default_rng(seed)
    rates = np.exp(rng.uniform(np.log(low), np.log(high), number)).astype(np.float32)
    return cls(rates, rng.choice(widths, number).astype(np.int32), np.arange(number, dtype=np.int32))


def search(
  trials: Trials,
  words: WordList,
  config: NameConfig,
  *,
  steps: int,
  batch_size: int,
  seed: int = 0,
  on_steps: Callable[[int], None] = lambda steps: None,
) -> np.ndarray:
  """float32 [N] validation loss of every trial, in nats a character; infinite where it diverged.

  Each is trained by Adam with its learning rate, which falls to nothing along a cosine.

  Args:
    config: of kind 'mlp', without normalisation; each trial has its own width.
    batch_size: places in a batch; 32 names have about 228.
    on_steps: called with the steps made, now and then.

  Raises:
    UserError: another kind of model.
  """
  if config.kind != 'mlp' or config.norm:
    raise UserError('the search trains the mlp without normalisation')
  train, val = (places(words, part, config.context) for part in (words.train, words.val))
  groups = [np.flatnonzero(trials.width == width) for width in np.unique(trials.width)]
  rates = [jnp.asarray(trials.learning_rate[group]) for group in groups]
  states = []
  for group in groups:
    narrow = dataclasses.replace(config, hidden_dim=int(trials.width[group[0]]))
    make = jax.vmap(lambda seed, narrow=narrow: name_models.init(jax.random.key(seed), narrow))
    params = jax.jit(make)(trials.seed[group])
    states.append((params, jax.vmap(_ADAM.init)(params)))
  done = 0
  while done < steps:
    count = min(_CHUNK, steps - done)
    states = _train(states, rates, train, jax.random.key(seed), done, steps, config.vocab_size, batch_size, count)
    done += count
    on_steps(count)
  losses = np.empty(len(trials), np.float32)
  for group, (params, _) in zip(groups, states, strict=True):
    losses[group] = _evaluate(params, val, config.vocab_size)
  return np.where(np.isfinite(losses), losses, np.inf)


def search_in_parts(
  trials: Trials,
  words: WordList,
  model: NameConfig,
  output: pathlib.Path,
  *,
  part: int,
  steps: int,
  batch_size: int,
  config: ExecutorConfig | None = None,
  on_part: Callable[[int], None] = lambda trials: None,
) -> np.ndarray:
  """`search`, by parts of `part` trials that are trained side by side, each by whoever is free (mlsd_jax/executor).

  Losses are those of `search` up to the rounding of products that were of other sizes; the same parts give the same to
  the bit, wherever they are made. A search that was killed goes on with the parts that are not there.

  Args:
    output: of the parts, losses.npy each.
    on_part: called with the trials of each part that is made.

  Raises:
    UserError: as `search` and `map_parts`.
  """
  columns = {name: getattr(trials, name).tolist() for name in ('learning_rate', 'width', 'seed')}
  identity = {
    'trials': fingerprint(columns),
    'words': fingerprint([words.train, words.val]),
    'model': dataclasses.asdict(model),
    'steps': steps,
    'batch_size': batch_size,
    'part': part,
  }
  tasks = [(start, min(start + part, len(trials))) for start in range(0, len(trials), part)]
  parts = map_parts(
    numbered(tasks), functools.partial(_Searcher, trials, words, model, steps, batch_size), output, identity=identity,
    config=config, setup=devices.configure_backend, on_part=lambda name, note: on_part(note['trials']),
  )  # fmt: skip
  return np.concatenate([np.load(folder / _LOSSES) for folder in parts.folders()])


@dataclasses.dataclass(frozen=True)
class _Searcher:
  """A worker; see `search_in_parts`."""

  trials: Trials
  words: WordList
  model: NameConfig
  steps: int
  batch_size: int

  def __call__(self, chosen: tuple[int, int], folder: pathlib.Path) -> dict[str, Any]:
    rows = slice(*chosen)
    trials = Trials(self.trials.learning_rate[rows], self.trials.width[rows], self.trials.seed[rows])
    losses = search(trials, self.words, self.model, steps=self.steps, batch_size=self.batch_size)
    np.save(folder / _LOSSES, losses)
    return {'trials': len(trials)}


def places(words: WordList, chosen: tuple[str, ...], context: int) -> Places:
  """The examples that `chosen` words hold."""
  encoded = words.encode(chosen)
  padded = np.pad(encoded['tokens'][:, :-1], ((0, 0), (context - 1, 0)))
  windows = np.lib.stride_tricks.sliding_window_view(padded, context, axis=1)
  counted = encoded['weights'] > 0
  return jnp.asarray(windows[counted]), jnp.asarray(encoded['tokens'][:, 1:][counted])


def _loss(params: Any, one_hot_BC: jax.Array, targets_BV: jax.Array) -> jax.Array:
  """Mean nats of `name_models.MLP` on one-hot contexts [B, K V] and targets [B, V]."""
  table_KVH = jnp.einsum('VD,KDH->KVH', params['embedding'], params['kernel'])
  h_BH = jnp.tanh(one_hot_BC @ table_KVH.reshape(one_hot_BC.shape[1], -1) + params['bias'])
  logits_BV = h_BH @ params['out']['kernel'] + params['out']['bias']
  return optax.softmax_cross_entropy(logits_BV, targets_BV).mean()


def _one_hot(examples: Places, vocab_size: int) -> Places:
  contexts_BK, targets_B = examples
  contexts_BKV = jax.nn.one_hot(contexts_BK, vocab_size)
  return contexts_BKV.reshape(len(targets_B), -1), jax.nn.one_hot(targets_B, vocab_size)


def _batch(train: Places, key: jax.Array, number: jax.Array, vocab_size: int, batch_size: int) -> Places:
  chosen = jax.random.randint(jax.random.fold_in(key, number), (batch_size,), 0, len(train[1]))
  return _one_hot((train[0][chosen], train[1][chosen]), vocab_size)


@functools.partial(jax.jit, static_argnames=('vocab_size', 'batch_size', 'count'), donate_argnames='states')
def _train(states, rates, train, key, first, steps, vocab_size, batch_size, count):
  """`count` steps of every trial of every width, all on the same batches."""

  def step(states, number):
    batch = _batch(train, key, number, vocab_size, batch_size)
    factor = 0.5 * (1 + jnp.cos(jnp.pi * number / steps))

    def one(params, adam, rate):
      update, adam = _ADAM.update(jax.grad(_loss)(params, *batch), adam)
      return jax.tree.map(lambda p, u: p - rate * factor * u, params, update), adam

    return [jax.vmap(one)(state[0], state[1], rate) for state, rate in zip(states, rates, strict=True)], None

  return jax.lax.scan(step, states, first + jnp.arange(count))[0]


@functools.partial(jax.jit, static_argnames='vocab_size')
def _evaluate(params, val, vocab_size):
  batch = _one_hot(val, vocab_size)
  return jax.lax.map(lambda each: _loss(each, *batch), params)


def find_learning_rate(
  words: WordList, config: NameConfig, *, low: float = 1e-4, high: float = 10.0, steps: int = 500, batch_size: int = 256
) -> tuple[np.ndarray, np.ndarray, float]:
  """Trains while the learning rate rises from `low` to `high` (Smith 2017, arXiv:1506.01186).

  Returns:
    rates [steps], losses [steps] (smoothed), and a rate to try: a third of that of the lowest loss.
  """
  train = places(words, words.train, config.context)
  rates = np.geomspace(low, high, steps).astype(np.float32)
  losses = np.asarray(_rising(train, jnp.asarray(rates), jax.random.key(0), config, batch_size))
  weight, smooth, mean = 0.95, np.empty(steps), 0.0
  for i, loss in enumerate(np.nan_to_num(losses, nan=50.0, posinf=50.0)):
    mean = weight * mean + (1 - weight) * min(float(loss), 50.0)
    smooth[i] = mean / (1 - weight ** (i + 1))
  best = int(smooth[steps // 20 :].argmin()) + steps // 20
  return rates, smooth, float(rates[best] / 3)


@functools.partial(jax.jit, static_argnames=('config', 'batch_size'))
def _rising(train, rates, key, config, batch_size):
  def step(state, rate_and_number):
    params, adam = state
    rate, number = rate_and_number
    loss, gradient = jax.value_and_grad(_loss)(params, *_batch(train, key, number, config.vocab_size, batch_size))
    update, adam = _ADAM.update(gradient, adam)
    return (jax.tree.map(lambda p, u: p - rate * u, params, update), adam), loss

  params = name_models.init(key, config)
  return jax.lax.scan(step, (params, _ADAM.init(params)), (rates, jnp.arange(len(rates))))[1]
