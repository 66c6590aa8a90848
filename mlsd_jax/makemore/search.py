"""Hyperparameter search the JAX way: hundreds of trainings of the MLP side by side in one compiled program.

The trials differ in learning rate, width and the seed of their parameters, and see the same batches; so the first layer
of all of them is one matrix product. A narrower model is the widest with some units zeroed: a unit whose incoming and
outgoing weights are zero gets no gradient, so it stays out.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlsd_jax.data.words import WordList
from mlsd_jax.errors import UserError
from mlsd_jax.makemore.task import negative_log_likelihood
from mlsd_jax.models import name_models
from mlsd_jax.models.name_models import NameConfig

_CHUNK = 250  # steps between two looks at the progress


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
    config: of kind 'mlp', as wide as the widest trial.
    on_steps: called with the steps made, now and then.

  Raises:
    UserError: a model of another kind, or a trial wider than `config`.
  """
  if config.kind != 'mlp' or config.norm or trials.width.max() > config.hidden_dim:
    raise UserError('the search trains the mlp without normalisation, at widths up to config.hidden_dim')
  train, val = (jax.tree.map(jnp.asarray, words.encode(part)) for part in (words.train, words.val[:_VALIDATION_WORDS]))
  params = jax.jit(jax.vmap(functools.partial(_init, config=config)))(trials.seed, trials.width)
  state = (params, jax.vmap(_ADAM.init)(params))
  done = 0
  while done < steps:
    count = min(_CHUNK, steps - done)
    state = _train(
      state, jnp.asarray(trials.learning_rate), train, jax.random.key(seed), done, steps, config, batch_size, count
    )
    done += count
    on_steps(count)
  losses = np.asarray(jax.jit(jax.vmap(lambda p: _loss(p, val, config)))(state[0]))
  return np.where(np.isfinite(losses), losses, np.inf)


_VALIDATION_WORDS = 1000
_ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)


def _init(seed, width, config):
  params = name_models.init(jax.random.key(seed), config)
  kept_H = (jnp.arange(config.hidden_dim) < width).astype(jnp.float32)
  params['kernel'] = params['kernel'] * kept_H
  params['out']['kernel'] = params['out']['kernel'] * kept_H[:, None]
  return params


def _loss(params: Any, encoded: Any, config: NameConfig) -> jax.Array:
  logits = name_models.apply(params, encoded['tokens'][:, :-1], config)
  nll = negative_log_likelihood(logits, encoded['tokens'][:, 1:])
  return jnp.sum(nll * encoded['weights']) / encoded['weights'].sum()


@functools.partial(jax.jit, static_argnames=('config', 'batch_size', 'count'), donate_argnames='state')
def _train(state, rates_N, train, key, first, steps, config, batch_size, count):
  """`count` steps of every trial, all on the same batches."""

  def step(state, number):
    chosen = jax.random.randint(jax.random.fold_in(key, number), (batch_size,), 0, len(train['tokens']))
    batch = {name: array[chosen] for name, array in train.items()}
    factor = 0.5 * (1 + jnp.cos(jnp.pi * number / steps))

    def one(params, adam, rate):
      update, adam = _ADAM.update(jax.grad(_loss)(params, batch, config), adam)
      return jax.tree.map(lambda p, u: p - rate * factor * u, params, update), adam

    return jax.vmap(one)(state[0], state[1], rates_N), None

  return jax.lax.scan(step, state, first + jnp.arange(count))[0]


def find_learning_rate(
  words: WordList, config: NameConfig, *, low: float = 1e-4, high: float = 10.0, steps: int = 500, batch_size: int = 64
) -> tuple[np.ndarray, np.ndarray, float]:
  """Trains while the learning rate rises from `low` to `high` (Smith 2017, arXiv:1506.01186).

  Returns:
    rates [steps], losses [steps] (smoothed), and a rate to try: a third of that of the lowest loss.
  """
  train = jax.tree.map(jnp.asarray, words.encode(words.train))
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
    chosen = jax.random.randint(jax.random.fold_in(key, number), (batch_size,), 0, len(train['tokens']))
    batch = {name: array[chosen] for name, array in train.items()}
    loss, gradient = jax.value_and_grad(_loss)(params, batch, config)
    update, adam = _ADAM.update(gradient, adam)
    return (jax.tree.map(lambda p, u: p - rate * u, params, update), adam), loss

  params = name_models.init(key, config)
  return jax.lax.scan(step, (params, _ADAM.init(params)), (rates, jnp.arange(len(rates))))[1]
