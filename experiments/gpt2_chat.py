"""gpt2 --mode=chat: talking with a model in the terminal, in the form that it was taught."""

import pathlib
import sys
from typing import Any

from experiments import contract
from mlsd_jax.errors import UserError
from mlsd_jax.generation.generate import generate
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.language_model import chat_template
from mlsd_jax.language_model.chat_template import ChatTemplate, Message
from mlsd_jax.models.families import DecoderConfig
from mlsd_jax.printable import printable
from mlsd_jax.tokenizers import Tokenizer


def read_template(run: contract.Run) -> ChatTemplate:
  """config.chat.template, a file, or the template that the workdir keeps.

  Raises:
    UserError: there is neither.
  """
  given = run.config.chat.template
  if given:
    try:
      return ChatTemplate(pathlib.Path(given).read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError) as error:
      raise UserError(f'config.chat.template={given}: {error}') from error
  kept = chat_template.load_of_run(run.workdir)
  if kept is None:
    raise UserError(
      f'{run.workdir} has no chat template, so its model was not taught to chat: import an instruct model, or name a '
      'template with --config.chat.template=FILE'
    )
  return kept


def talk(run: contract.Run, params: Any, model: DecoderConfig, tokenizer: Tokenizer, sampling: SamplingConfig) -> None:
  """A line in, an answer out, until the input ends or a line is /exit; /new begins another conversation."""
  template, config = read_template(run), run.config
  end = template.turn_end(tokenizer)
  speaking: Any = tokenizer if end is None else tokenizer.ended_by(end)  # type: ignore[attr-defined]
  begun: list[Message] = [{'role': 'system', 'content': config.chat.system}] if config.chat.system else []
  template.render([*begun, {'role': 'user', 'content': 'a'}])  # a system message may be refused
  messages = list(begun)
  is_terminal = sys.stdin.isatty()
  if is_terminal:
    run.print('/new begins again, /exit (or Ctrl-D) leaves')
  while True:
    print('> ' if is_terminal else '', end='', flush=True)
    line = sys.stdin.readline()
    said = line.strip()
    if not line or said == '/exit':
      return
    if said == '/new':
      messages = list(begun)
      continue
    if not said:
      continue
    messages.append({'role': 'user', 'content': said})
    prompt = template.encode(messages, tokenizer, reply=True)
    if len(prompt) >= model.context_length:
      raise UserError(f'the conversation has {len(prompt)} tokens, the model a context of {model.context_length}')
    (answer,) = generate(
      params,
      model,
      speaking,
      [prompt],
      sampling=sampling,
      max_new_tokens=min(config.sample.max_new_tokens, model.context_length - len(prompt)),
      stop=tuple(config.sample.stop),
      seed=config.sample.seed + len(messages),
      on_text=lambda _, piece: print(printable(piece), end='', flush=True),
    )
    print(flush=True)
    messages.append({'role': 'assistant', 'content': answer.text})
