"""A model that answers in conversations: its words, and what the tools that it calls give back."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.generation.generate import generate
from mlsd_jax.generation.sampling import PLAIN, SamplingConfig
from mlsd_jax.language_model import tools
from mlsd_jax.language_model.chat_template import ChatTemplate, Message
from mlsd_jax.models.families import DecoderConfig
from mlsd_jax.tokenizers import Tokenizer

_MOST_CALLS = 4  # of tools in one answer


@dataclasses.dataclass(frozen=True)
class Speaker:
  """A model with the template it was taught in. `stop`: strings that end a message besides the template's own token."""

  params: Any
  model: DecoderConfig
  tokenizer: Tokenizer
  template: ChatTemplate
  sampling: SamplingConfig = PLAIN
  max_new_tokens: int = 256
  stop: tuple[str, ...] = ()

  def say(
    self,
    conversations: Sequence[Sequence[Message]],
    *,
    seed: int = 0,
    on_text: Callable[[int, str], None] | None = None,
  ) -> list[str]:
    """The assistant's next message in each conversation; `on_text` as generate has it.

    Raises:
      UserError: a conversation that the template refuses, or that fills the context.
    """
    prompts = [self.template.encode(messages, self.tokenizer, reply=True) for messages in conversations]
    longest = max((len(prompt) for prompt in prompts), default=0)
    room = self.model.context_length - longest
    if room < 1:
      raise UserError(f'the conversation has {longest} tokens, the model a context of {self.model.context_length}')
    end = self.template.turn_end(self.tokenizer)
    speaking: Any = self.tokenizer if end is None else self.tokenizer.ended_by(end)  # type: ignore[attr-defined]
    samples = generate(
      self.params,
      self.model,
      speaking,
      prompts,
      sampling=self.sampling,
      max_new_tokens=min(self.max_new_tokens, room),
      stop=self.stop,
      seed=seed,
      on_text=on_text,
    )
    return [sample.text for sample in samples]

  def answer(
    self,
    conversations: Sequence[Sequence[Message]],
    names: Sequence[str] = (),
    *,
    seed: int = 0,
    on_text: Callable[[int, str], None] | None = None,
    on_result: Callable[[int, str], None] | None = None,
  ) -> list[list[Message]]:
    """What follows in each conversation: the assistant's message, or its call of a tool, the result, and so on.

    Args:
      names: of tools.TOOLS. A call that is no known tool's is a message like any other.
      on_result: called with the number of a conversation and what a tool gave.

    Raises:
      UserError: as `say`, or an unknown tool.
    """
    known = [find_tool(name) for name in names]
    said: list[list[Message]] = [[] for _ in conversations]
    open_ones = list(range(len(conversations)))
    for _ in range(_MOST_CALLS + 1):

      def tell(place: int, text: str, numbers: Sequence[int] = tuple(open_ones)) -> None:
        if on_text is not None:
          on_text(numbers[place], text)

      asked = [[*conversations[i], *said[i]] for i in open_ones]
      texts = self.say(asked, seed=seed, on_text=tell if on_text else None)
      calling = []
      for i, text in zip(open_ones, texts, strict=True):
        said[i].append({'role': 'assistant', 'content': text})
        result = next((found for tool in known if (found := tool(text)) is not None), None)
        if result is not None:
          said[i].append({'role': 'tool', 'content': result})
          calling.append(i)
          if on_result is not None:
            on_result(i, result)
      open_ones = calling
      if not open_ones:
        break
    return said


def find_tool(name: str) -> Callable[[str], str | None]:
  """Raises UserError unless there is such a tool."""
  if name not in tools.TOOLS:
    raise UserError(f'config.chat.tools names {name!r}; there are {", ".join(tools.TOOLS)}')
  return tools.TOOLS[name]


def exact_answers(
  speaker: Speaker, conversations: Sequence[Sequence[Message]], names: Sequence[str] = ()
) -> list[tuple[str, str, bool]]:
  """(what was asked, what was answered, whether that is the answer of the conversation to the letter) of each.

  A conversation is asked up to its first answer; what counts is its last message, beside the last one of the model's.
  """
  asked = []
  for messages in conversations:
    first = next(number for number, message in enumerate(messages) if message['role'] == 'assistant')
    asked.append(list(messages[:first]))
  answered = [said[-1].get('content') or '' for said in speaker.answer(asked, names)]
  wanted = [messages[-1].get('content') or '' for messages in conversations]
  return [
    (each[-1]['content'] if each else '', found, found.strip() == true.strip())
    for each, found, true in zip(asked, answered, wanted, strict=True)
  ]
