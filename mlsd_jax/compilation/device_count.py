"""How many devices a --hardware names, whoever reads it. No JAX: estimates count them too."""

import math
from collections.abc import Sequence

from mlsd_jax.errors import UserError


def count_devices(name: str, sides: Sequence[str], most: int, what: str) -> int:
  """The product of `sides`: ['8'] of 8xh100, ['4', '4'] of v5e:4x4.

  Args:
    name: as it was asked for.
    most: devices that there may be.
    what: is made for no more of them, such as 'estimates are made'.

  Raises:
    UserError: there are more.
  """
  # Not all digits are read: of thousands there is no number in reasonable time.
  count = math.prod(int(side.lstrip('0')[: len(str(most)) + 1] or 0) for side in sides)
  if count > most:
    shown = name if len(name) < 60 else f'{name[:30]}...'
    raise UserError(f'--hardware={shown}: {what} for at most {most:,} devices')
  return count
