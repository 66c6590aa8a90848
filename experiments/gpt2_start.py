"""Where a run of gpt2 starts: other parameters (config.init_from), and what comes with them."""

import dataclasses
from typing import Any

from ml_collections import ConfigDict

from mlsd_jax.errors import UserError
from mlsd_jax.language_model import gpt2_folder, modern_folder, pretrained, vocabulary
from mlsd_jax.language_model.chat_template import ChatTemplate
from mlsd_jax.models.families import DecoderConfig, kind_of
from mlsd_jax.tokenizers import Tokenizer

# Fields of the model that such a start brings with it.
FIXED_BY_PARAMETERS = {'gpt': gpt2_folder.OF_PARAMETERS, 'modern': modern_folder.OF_PARAMETERS}


@dataclasses.dataclass(frozen=True)
class Start:
  """Parameters to start from, their model and tokenizer, and how a LoRA knows them again."""

  params: Any
  model: DecoderConfig
  tokenizer: Tokenizer
  base: pretrained.Base | None = None


def load(config: Any, template: ChatTemplate | None = None) -> Start | None:
  """What config.init_from names, with a token for each of the template's own; None for a start from nothing.

  Raises:
    UserError: there is no such model, or the config is for one of another kind.
  """
  if not config.init_from:
    if config.init_tokenizer:
      raise UserError(
        'init_tokenizer is of the folder that init_from=hf:FOLDER names; a run from nothing has data.tokenizer'
      )
    return None
  params, model, tokenizer = pretrained.load(config.init_from, tokenizer=config.init_tokenizer)
  kind = config.model.get('kind', 'gpt')
  if kind_of(model) != kind:
    fitting = {'modern': 'configs/gpt2/modern_cpu.py', 'gpt': 'configs/gpt2/finetune_shakespeare.py'}[kind_of(model)]
    raise UserError(f'{config.init_from} is a model of kind {kind_of(model)}, the config is for {kind}: see {fitting}')
  words = template.special_words() if template else []
  base = None
  if config.lora.rank:
    base = pretrained.Base.of(params, config.init_from, config.init_tokenizer, words)
  params, model, tokenizer = vocabulary.add_tokens(params, model, tokenizer, words)
  chosen = {name: config.model[name] for name in config.model if name not in ('kind', *FIXED_BY_PARAMETERS[kind])}
  return Start(*pretrained.lay_out(params, model, **chosen), tokenizer, base)


def write_model(config: Any, model: DecoderConfig, tokenizer: Tokenizer) -> None:
  """config.json says what ran: the model and the tokenizer that were loaded."""
  config.data.tokenizer = tokenizer.name
  fields = dataclasses.asdict(model)
  del fields['vocab_size']  # the tokenizer's
  config.model = ConfigDict(fields if kind_of(model) == 'gpt' else {'kind': kind_of(model), **fields})
