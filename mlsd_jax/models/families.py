"""Which module computes with a config: every family of decoders has the same functions, under the same names."""

from collections.abc import Mapping
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.models import gpt, modern_gpt, partial_gpt
from mlsd_jax.schema import from_mapping

type DecoderConfig = gpt.GPTConfig | modern_gpt.ModernGPTConfig

KINDS: dict[str, type] = {'gpt': gpt.GPTConfig, 'modern': modern_gpt.ModernGPTConfig}


def functions_of(config: DecoderConfig) -> Any:
  """models/gpt.py, models/modern_gpt.py or models/partial_gpt.py.

  Each has bind, init, apply, token_losses, init_cache, apply_cached, head, num_params and flops_per_token.
  """
  if isinstance(config, modern_gpt.ModernGPTConfig):
    return modern_gpt
  return partial_gpt if isinstance(config, partial_gpt.PartialGPTConfig) else gpt


def kind_of(config: DecoderConfig) -> str:
  """The name in KINDS."""
  return 'modern' if isinstance(config, modern_gpt.ModernGPTConfig) else 'gpt'


def read_config(values: Mapping[str, Any], where: str = 'model', **known: Any) -> DecoderConfig:
  """The config of a section or of a checkpoint's metadata: 'kind' (by default gpt) and the fields of that class.

  Args:
    where: the section, for messages.
    known: fields that do not stand there, such as vocab_size.

  Raises:
    UserError: an unknown kind or key, or a bad value.
  """
  fields = {**values, **known}
  kind = fields.pop('kind', 'gpt')
  if kind not in KINDS:
    raise UserError(f'config.{where}.kind={kind!r} is not one of {", ".join(KINDS)}')
  return from_mapping(KINDS[kind], fields, where)
