"""What goes on inside the MLP while it learns: activations, gradients, updates, as the makemore lectures show them."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mlsd_jax.data.words import WordList
from mlsd_jax.makemore.task import negative_log_likelihood
from mlsd_jax.models import adapter, name_models
from mlsd_jax.models.name_models import NameConfig
from mlsd_jax.training.sharding import path_string

_SATURATED = 0.97


@dataclasses.dataclass(frozen=True)
class Statistics:
  """Of one short training.

  Attributes:
    losses: [steps] nats.
    activations: [2, M] outputs of tanh at the first and the last step.
    saturated_share: [2] of activations beyond 0.97 either way, which pass hardly any gradient.
    dead_units: [2] units that are saturated for every place of the batch.
    gradients: array [elements] by parameter, at the last step.
    update_ratios: [steps] by parameter, log10 of the update's standard deviation over the parameter's; -3 is healthy.
  """

  losses: np.ndarray
  activations: np.ndarray
  saturated_share: np.ndarray
  dead_units: np.ndarray
  gradients: dict[str, np.ndarray]
  update_ratios: dict[str, np.ndarray]


def watch(
  words: WordList, config: NameConfig, *, naive: bool = False, learning_rate: float, steps: int, batch_size: int = 64
) -> Statistics:
  """Trains an MLP by plain gradient descent and keeps what the lectures plot.

  Args:
    config: of kind 'mlp'.
    naive: starts with weights of standard deviation 1: the units saturate and the first losses are far too high.
  """
  params = name_models.init(jax.random.key(0), config)
  if naive:
    params['kernel'] = jax.random.normal(jax.random.key(1), params['kernel'].shape)
    params['out']['kernel'] = jax.random.normal(jax.random.key(2), params['out']['kernel'].shape)
  encoded = jax.tree.map(jnp.asarray, words.encode(words.train))
  probe = {name: array[:batch_size] for name, array in encoded.items()}
  first = _hidden(params, probe, config)
  params, gradient, losses, ratios = _train(params, encoded, config, learning_rate, steps, batch_size)
  last = _hidden(params, probe, config)
  outputs = np.stack([np.asarray(first), np.asarray(last)])
  is_saturated = np.abs(outputs) > _SATURATED
  named = lambda tree: {path_string(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
  is_weight = lambda path: path.rsplit('/', 1)[-1] in ('kernel', 'embedding')
  return Statistics(
    losses=np.asarray(losses),
    activations=outputs.reshape(2, -1),
    saturated_share=is_saturated.mean((1, 2)),
    dead_units=is_saturated.all(1).sum(1),
    gradients={path: leaf.ravel() for path, leaf in named(gradient).items() if is_weight(path)},
    update_ratios={path: leaf for path, leaf in named(ratios).items() if is_weight(path)},
  )


def _hidden(params: Any, batch: Any, config: NameConfig) -> jax.Array:
  """[places, H] outputs of tanh at the places that count."""
  module = adapter.bind(name_models.MLP, config, params)
  x_BTH = module.hidden(batch['tokens'][:, :-1])
  if module.norm is not None:
    x_BTH = module.norm(x_BTH, batch['weights'])
  return jnp.tanh(x_BTH)[batch['weights'] > 0]


@functools.partial(jax.jit, static_argnames=('config', 'steps', 'batch_size'))
def _train(params, encoded, config, learning_rate, steps, batch_size):
  def loss(params, batch):
    logits = name_models.apply(params, batch['tokens'][:, :-1], config, weights_BT=batch['weights'])
    nll = negative_log_likelihood(logits, batch['tokens'][:, 1:])
    return jnp.sum(nll * batch['weights']) / batch['weights'].sum()

  def step(carry, number):
    params, _ = carry
    chosen = jax.random.randint(jax.random.fold_in(jax.random.key(0), number), (batch_size,), 0, len(encoded['tokens']))
    value, gradient = jax.value_and_grad(loss)(params, {name: array[chosen] for name, array in encoded.items()})
    ratio = lambda g, p: jnp.log10(learning_rate * g.std() / jnp.maximum(p.std(), 1e-20) + 1e-20)
    ratios = jax.tree.map(ratio, gradient, params)
    params = optax.apply_updates(params, jax.tree.map(lambda g: -learning_rate * g, gradient))
    return (params, gradient), (value, ratios)

  empty = jax.tree.map(jnp.zeros_like, params)
  (params, gradient), (losses, ratios) = jax.lax.scan(step, (params, empty), jnp.arange(steps))
  return params, gradient, losses, ratios
