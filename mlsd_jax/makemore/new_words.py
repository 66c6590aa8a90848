"""New words out of a trained model."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from mlsd_jax.data.words import BOUNDARY, WordList
from mlsd_jax.models import name_models
from mlsd_jax.models.name_models import NameConfig


def make_words(params: Any, words: WordList, config: NameConfig, number: int, key: jax.Array) -> list[str]:
  """`number` words drawn character by character; the longest are as long as the longest of the list."""
  return [words.decode(row) for row in _draw(params, key, config, number).tolist()]


def novel_share(made: list[str], words: WordList) -> float:
  """Share of `made` that is no word of the training split."""
  known = set(words.train)
  return sum(word not in known for word in made) / len(made)


@functools.partial(jax.jit, static_argnames=('config', 'number'))
def _draw(params, key, config, number):
  """[number, length - 1] characters. Every step reads the whole word so far: at 16 places that is nothing."""

  def step(tokens_BT, place_and_key):
    place, key = place_and_key
    logits_BV = name_models.apply(params, tokens_BT, config)[:, place]
    drawn_B = jax.random.categorical(key, logits_BV)
    ended_B = (tokens_BT[:, place] == BOUNDARY) & (place > 0)
    return tokens_BT.at[:, place + 1].set(jnp.where(ended_B, BOUNDARY, drawn_B)), None

  places = jnp.arange(config.length - 1)
  start = jnp.full((number, config.length), BOUNDARY, jnp.int32)
  return jax.lax.scan(step, start, (places, jax.random.split(key, config.length - 1)))[0][:, 1:]
