"""A profiler trace of a few early steps, for TensorBoard's profile page, Perfetto or XProf."""

import pathlib
from typing import Any

import jax

FIRST_DISPATCH, LAST_DISPATCH = 2, 4  # the first compiles


class Trace:
  """Traces dispatches FIRST to LAST of a sitting."""

  def __init__(self, folder: pathlib.Path):
    self._folder, self._dispatches, self._tracing = folder, 0, False

  def dispatched(self, output: Any) -> None:
    """Call after each dispatch with something it computes, which is waited for at the ends of the trace."""
    self._dispatches += 1
    if self._dispatches == FIRST_DISPATCH - 1:
      jax.block_until_ready(output)
      jax.profiler.start_trace(str(self._folder))
      self._tracing = True
    elif self._dispatches == LAST_DISPATCH:
      jax.block_until_ready(output)
      self.close()

  def close(self) -> None:
    if self._tracing:
      self._tracing = False
      jax.profiler.stop_trace()
