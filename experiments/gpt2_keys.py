"""Keys of a GPT's config that several modes read, and those that have no effect in a run."""

from typing import Any

from experiments import contract, gpt2_start
from experiments.gpt2_material import OF_TEXT, is_of_conversations
from mlsd_jax.language_model.text_preparation import PREPARED

OF_ANSWERS = (
  'max_new_tokens', 'temperature', 'top_k', 'top_p', 'min_p', 'repetition_penalty', 'presence_penalty',
  'frequency_penalty', 'stop', 'seed',
)  # fmt: skip
OF_SPEAKING = ('sample.max_new_tokens', 'sample.stop', 'chat.tools')
DATA = ('source', 'path', 'format', 'val_fraction', *OF_TEXT)


def of_start(config: Any) -> tuple[str, ...]:
  """Keys that a start from other parameters brings with it."""
  fields = gpt2_start.FIXED_BY_PARAMETERS[config.model.get('kind', 'gpt')]
  return ('data.tokenizer', *(f'model.{name}' for name in fields))


def idle(run: contract.Run) -> dict[str, str]:
  """A start from other parameters brings their model and tokenizer with it, and what is off has no settings."""
  config = run.config
  found = {}
  if config.init_from:
    found = dict.fromkeys(of_start(config), f'a start from {config.init_from} has its own')
  mode = run.flags['mode']
  if is_of_conversations(config):
    found |= dict.fromkeys((f'data.{name}' for name in OF_TEXT), 'conversations are read whole, each on a line')
    found |= {'evaluate.stride': 'conversations are scored one by one'}
    if mode == 'evaluate' and run.stored is not None:
      found |= dict.fromkeys(('init_from', 'init_tokenizer', 'chat.template'), f'the run in {run.workdir} has its own')
    if mode == 'evaluate' and not config.evaluate.answers:
      found |= dict.fromkeys(OF_SPEAKING, 'evaluate.answers=0 asks for no answer')
  elif mode in ('train', 'evaluate'):
    no_turns: tuple[str, ...] = ('chat.template', 'chat.tools', 'evaluate.answers')
    if mode == 'evaluate':
      no_turns += (*OF_SPEAKING, 'init_from', 'init_tokenizer')
    found |= dict.fromkeys(no_turns, 'data.format=text has no turns')
  source = str(config.data.source)
  if source.startswith(PREPARED):
    names = ('tokenizer', *(name for name in DATA if name not in ('source', 'path')))
    found |= {f'data.{name}': f'{source} is tokens already' for name in names}
  if not config.lora.rank:
    found |= dict.fromkeys(('lora.alpha', 'lora.matrices'), 'lora.rank=0 trains all parameters')
  return found
