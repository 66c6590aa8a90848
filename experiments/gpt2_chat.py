"""gpt2 --mode=chat: talking with a model in the terminal, in the form that it was taught; and answers in numbers."""

import sys
from typing import Any

from experiments import contract
from mlsd_jax import files
from mlsd_jax.errors import UserError
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.language_model import chat_template
from mlsd_jax.language_model.chat import Speaker, find_tool
from mlsd_jax.language_model.chat_template import ChatTemplate, Message
from mlsd_jax.language_model.text import read_prompts
from mlsd_jax.models.families import DecoderConfig
from mlsd_jax.printable import printable
from mlsd_jax.tokenizers import Tokenizer
from mlsd_jax.training import distributed


def read_template(run: contract.Run) -> ChatTemplate:
  """config.chat.template, 'chatml' or a file, or the template that the workdir keeps.

  Raises:
    UserError: there is neither.
  """
  if run.config.chat.template:
    return chat_template.named(run.config.chat.template)
  kept = chat_template.load_of_run(run.workdir)
  if kept is None:
    raise UserError(
      f'{run.workdir} has no chat template, so its model was not taught to chat: import an instruct model, or name a '
      'template with --config.chat.template=FILE (or chatml)'
    )
  return kept


def make_speaker(
  run: contract.Run,
  params: Any,
  model: DecoderConfig,
  tokenizer: Tokenizer,
  template: ChatTemplate,
  sampling: SamplingConfig,
) -> Speaker:
  config = run.config.sample
  return Speaker(params, model, tokenizer, template, sampling, config.max_new_tokens, tuple(config.stop))


def read_tools(run: contract.Run) -> tuple[str, ...]:
  """config.chat.tools; raises UserError for one that there is not."""
  for name in run.config.chat.tools:
    find_tool(name)
  return tuple(run.config.chat.tools)


def show(run: contract.Run, speaker: Speaker) -> None:
  """Answers to config.sample.prompt, each the first message of a conversation, on the terminal and in samples.txt."""
  config = run.config.sample
  asked = [prompt for prompt in read_prompts(config.prompt, speaker.tokenizer) if prompt]
  shown = []
  for number in range(config.num_samples if asked else 0):
    conversations = [[{'role': 'user', 'content': prompt}] for prompt in asked]
    answers = speaker.answer(conversations, read_tools(run), seed=config.seed + number)
    for prompt, said in zip(asked, answers, strict=True):
      shown.append('\n'.join([f'> {prompt}', *(str(each['content']) for each in said), '']))
  run.print('\n'.join(shown))
  if distributed.is_main():
    files.write_text(run.workdir / 'samples.txt', '\n'.join(shown))


def talk(run: contract.Run, speaker: Speaker) -> None:
  """A line in, an answer out, until the input ends or a line is /exit; /new begins another conversation."""
  config, names = run.config, read_tools(run)
  begun: list[Message] = [{'role': 'system', 'content': config.chat.system}] if config.chat.system else []
  speaker.template.render([*begun, {'role': 'user', 'content': 'a'}])  # a system message may be refused
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
    (answer,) = speaker.answer(
      [messages],
      names,
      seed=config.sample.seed + len(messages),
      on_text=lambda _, piece: print(printable(piece), end='', flush=True),
      on_result=lambda _, result: print(f' -> {printable(result)}', flush=True),
    )
    print(flush=True)
    messages += answer
