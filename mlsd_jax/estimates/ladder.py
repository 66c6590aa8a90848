"""Several small models that are trained one after the other, on paper."""

import dataclasses
from collections.abc import Sequence

from mlsd_jax.estimates.hardware import Hardware
from mlsd_jax.estimates.table import Group, Row


@dataclasses.dataclass(frozen=True)
class Rung:
  """One of them.

  Attributes:
    parameters: counted, of the real model.
    weights: of these, those that take part in a product (or a look-up) for every place; 6 operations each.
    places: tokens or characters of a batch.
  """

  name: str
  parameters: int
  weights: float
  places: int
  steps: int
  dtype: str

  @property
  def flops(self) -> float:
    """6 x weights x places x steps, forward and backward (PaLM, arXiv:2204.02311, appendix B)."""
    return 6.0 * self.weights * self.places * self.steps


def estimate(rungs: Sequence[Rung], hardware: Hardware, mfu: float) -> list[Group]:
  """Parameters, bytes of state, operations and seconds of each, in groups to print."""
  seconds = lambda rung: rung.flops / (hardware.device.peak_of(rung.dtype) * mfu)
  total = sum(map(seconds, rungs))
  return [
    Group(
      'parameters', tuple(Row(each.name, each.parameters, 'count', 'counted, of the real model') for each in rungs)
    ),
    Group(
      'state', tuple(Row(each.name, 16.0 * each.parameters, 'bytes', '16 B a parameter with Adam') for each in rungs)
    ),
    Group(
      'operations of the run',
      tuple(
        Row(each.name, each.flops, 'flop', f'6 x {each.weights:,.0f} x {each.places:,} x {each.steps:,} steps')
        for each in rungs
      ),
    ),
    Group(
      f'time on one {hardware.device.name}',
      (
        *(Row(each.name, seconds(each), 'seconds', f'operations / (peak x {mfu:g})') for each in rungs),
        Row('in all', total, 'seconds', 'one after the other'),
      ),
      ('models of this size are bound by what starts a step, not by arithmetic: --hardware=here measures it',),
    ),
  ]
