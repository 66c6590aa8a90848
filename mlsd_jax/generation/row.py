"""A request on its way through the engine."""

import dataclasses
from collections.abc import Callable

import numpy as np

from mlsd_jax.generation.requests import Request, TokenLogprob


@dataclasses.dataclass
class Row:
  """A request in the queue or in a slot.

  Attributes:
    tokens: what is to be read: the prompt, or the window that is read anew.
    read: how many tokens the cache holds of it.
    cached: how many of them came from the cache of prefixes.
    is_decoding: whether all that is to be read has been, so that it is being continued.
    drawn: random numbers of its tokens, as far as they have been drawn.
  """

  id: int
  request: Request
  tokens: np.ndarray
  sampled: list[int] = dataclasses.field(default_factory=list)
  prompt_logprobs: list[TokenLogprob] = dataclasses.field(default_factory=list)
  read: int = 0
  cached: int = 0
  is_decoding: bool = False
  drawn: np.ndarray | None = None

  def uniforms(self, draw: Callable[[Request, int], np.ndarray], steps: int) -> np.ndarray:
    """The random numbers [steps, 2] of its next tokens, from DeviceState.draw; a greedy one uses none."""
    if self.request.sampling.temperature == 0.0:
      return np.zeros((steps, 2), np.float32)
    if self.drawn is None:
      self.drawn = draw(self.request, 0)
    while len(self.drawn) < len(self.sampled) + steps:
      self.drawn = np.concatenate([self.drawn, draw(self.request, len(self.drawn))])
    return self.drawn[len(self.sampled) :][:steps]
