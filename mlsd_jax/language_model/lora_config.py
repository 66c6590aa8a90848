"""What LoRA trains (lora.py), as configs and checkpoints say it; no JAX, as in models/decoder_config.py."""

import dataclasses
from typing import Annotated

from mlsd_jax.schema import above


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  """Which matrices are learnt by factors; peft's r, lora_alpha and target_modules."""

  rank: int = 0  # of the factors; 0 trains all parameters, without any
  alpha: Annotated[float, above(0)] = 16.0  # the product is multiplied by alpha / rank
  matrices: tuple[str, ...] = ()  # such as query, value, up, token_embedding; () is every kernel

  @property
  def scale(self) -> float:
    return self.alpha / self.rank
