"""Conversations as the text that a model was taught them in: its chat template, a program in Jinja.

A template comes with a model, from whoever made it: it runs in Jinja's sandbox, which reaches no attribute of Python's
and no file.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mlsd_jax import files, sealed, tokenizers
from mlsd_jax.errors import UserError
from mlsd_jax.tokenizers.special import split_at

FILE = 'chat_template.json'  # of a workdir
JINJA, CONFIG, MAP = 'chat_template.jinja', 'tokenizer_config.json', 'special_tokens_map.json'  # of Hugging Face's
ROLES = ('system', 'user', 'assistant', 'tool')
_MARK = '\ufdd1'  # a noncharacter, put into what would be taken for a special token
_SPECIAL = r'<\|[^|<>\s]+\|>'  # how the field spells them
_BEGIN, _END = '\ufdd2', '\ufdd3'  # around what a template marks by {% generation %}

type Message = Mapping[str, Any]  # {'role': one of ROLES, 'content': text, ...}


@dataclasses.dataclass(frozen=True)
class ChatTemplate:
  """A template's source, and the tokens that it knows by name: 'bos_token', 'eos_token', ..."""

  source: str
  tokens: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def render(self, messages: Sequence[Message], *, reply: bool = False, **more: Any) -> str:
    """The conversation as text.

    Args:
      reply: whether it ends where the assistant's next message begins.
      more: further variables of the template: tools, enable_thinking, ...

    Raises:
      UserError: a message is none, or the template refuses the conversation or is none itself.
    """
    text = self._render(messages, reply=reply, **more)
    return text.replace(_BEGIN, '').replace(_END, '')

  def _render(self, messages: Sequence[Message], *, reply: bool = False, **more: Any) -> str:
    """The same, with marks around what the template says is the assistant's."""
    check_messages(messages)
    # They are asked for by `{% if tools %}`, and by name in no template that does not know them.
    variables = {'tools': None, 'documents': None, **self.tokens, **more}
    try:
      return self._compiled.render(messages=list(messages), add_generation_prompt=reply, **variables)
    except Exception as error:  # whatever a program of someone else's runs into
      raise UserError(f'the chat template refuses this conversation: {_one_line(error)}') from error

  @functools.cached_property
  def _compiled(self) -> Any:
    import jinja2

    try:
      return _environment().from_string(self.source)
    except jinja2.TemplateError as error:
      raise UserError(f'the chat template is no Jinja template: {_one_line(error)}') from error

  def render_parts(self, messages: Sequence[Message], tokenizer: tokenizers.Tokenizer) -> list[tuple[str, bool]]:
    """The conversation in parts for `encode_text`, each with whether the assistant says it, to the end of its turn.

    By {% generation %} where the template has it. Else a message of the assistant's is what follows the place where
    the template would ask for it; white space behind the token that ends it is not its own.

    Raises:
      UserError: as `render`, or what the assistant says cannot be told apart.
    """
    special = getattr(tokenizer, 'special_tokens', {})
    safe = [_mark(message, self._hidden(tokenizer)) for message in messages]
    text = self._render(safe)
    if _BEGIN in text:
      cut = re.split(f'{_BEGIN}(.*?){_END}', text, flags=re.DOTALL)
      return [(each, bool(i % 2)) for i, each in enumerate(cut) if each]
    parts: list[tuple[str, bool]] = []
    done = 0
    for number, message in enumerate(safe):
      if message['role'] != 'assistant':
        continue
      until = self._render(safe[: number + 1])
      if number:
        before = self._render(safe[:number], reply=True)
      else:  # it is asked for behind no message: what stands before its words is the template's
        before = until[: until.find(message.get('content') or '')]
      if not (until.startswith(before) and text.startswith(until) and len(before) >= done):
        raise UserError(
          f'the chat template writes message {number} otherwise when it asks for it or goes on behind it, so that the '
          "assistant's words cannot be told apart: put {% generation %} ... {% endgeneration %} around them"
        )
      said = until[len(before) :]
      if said.rstrip().endswith(tuple(special)):
        said = said.rstrip()
      parts += [(text[done : len(before)], False), (said, True)]
      done = len(before) + len(said)
    return [(part, is_answer) for part, is_answer in [*parts, (text[done:], False)] if part]

  def encode_text(self, text: str, tokenizer: tokenizers.Tokenizer) -> np.ndarray:
    """The int32 ids of a rendered text whose messages were marked: see `encode`."""
    special = getattr(tokenizer, 'special_tokens', {})
    parts = [
      np.array([special[part]], np.int32) if is_token else tokenizer.encode(part.replace(_MARK, ''))
      for part, is_token in split_at(text, special, getattr(tokenizer, 'edges', None))
    ]
    return np.concatenate([np.empty(0, np.int32), *parts])

  def _hidden(self, tokenizer: tokenizers.Tokenizer) -> list[str]:
    """The special tokens that a message does not hold as such."""
    special = getattr(tokenizer, 'special_tokens', {})
    return [token for token in special if token not in getattr(tokenizer, 'added', ())]

  def special_words(self) -> list[str]:
    """What the template writes that looks like a token of its own, such as <|im_start|>, in the order of the source."""
    named = [token for token in self.tokens.values() if re.fullmatch(_SPECIAL, token)]
    return list(dict.fromkeys([*re.findall(_SPECIAL, self.source), *named]))

  def encode(self, messages: Sequence[Message], tokenizer: tokenizers.Tokenizer, **options: Any) -> np.ndarray:
    """The int32 ids of the conversation: special tokens of the template are their ids, those of a message are text.

    (Of a message that spells '<|im_end|>' Hugging Face makes the token that ends it.)
    """
    hidden = self._hidden(tokenizer)
    return self.encode_text(self.render([_mark(message, hidden) for message in messages], **options), tokenizer)

  def turn_end(self, tokenizer: tokenizers.Tokenizer) -> int | None:
    """The special token that ends an assistant's message, or None if the template has no such token."""
    asked = [{'role': 'user', 'content': 'a'}]
    text = self.render([*asked, {'role': 'assistant', 'content': _MARK}])
    behind = text.rpartition(_MARK)[2].lstrip()
    special = getattr(tokenizer, 'special_tokens', {})
    first, is_token = next(split_at(behind, special), ('', False))
    return special[first] if is_token else None

  def save(self, workdir: pathlib.Path) -> None:
    """Writes WORKDIR/chat_template.json."""
    sealed.write_json(workdir / FILE, {'source': self.source, 'tokens': dict(self.tokens)})


# OpenAI's ChatML, of Qwen and SmolLM2; for a model that is taught its first conversations here.
CHATML = ChatTemplate(
  "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
  '{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}'
)


def named(given: str) -> ChatTemplate:
  """'chatml', or a Jinja file.

  Raises:
    UserError: there is no such file, or it is no text.
  """
  if given == 'chatml':
    return CHATML
  try:
    return ChatTemplate(pathlib.Path(given).read_text(encoding='utf-8'))
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'config.chat.template={given}: {error}') from error


def load_of_run(workdir: pathlib.Path) -> ChatTemplate | None:
  """The template that a workdir keeps; None if it keeps none."""
  if not (workdir / FILE).exists():
    return None
  content = sealed.read_json(workdir / FILE)
  return ChatTemplate(content['source'], content['tokens'])


def load(folder: str | os.PathLike[str]) -> ChatTemplate | None:
  """The template of a Hugging Face folder: chat_template.jinja, else that of tokenizer_config.json; None without one.

  Raises:
    UserError: a file is damaged.
  """
  folder = pathlib.Path(folder)
  read = lambda name: files.read_json(folder / name) if (folder / name).exists() else {}
  config = read(CONFIG)
  named = {**read(MAP), **config}
  texts = {key: value.get('content') if isinstance(value, dict) else value for key, value in named.items()}
  tokens = {key: text for key, text in texts.items() if key.endswith('_token') and isinstance(text, str)}
  source = config.get('chat_template')
  if isinstance(source, list):  # several by name
    source = {each.get('name'): each.get('template') for each in source}.get('default')
  if (folder / JINJA).exists():
    try:
      source = (folder / JINJA).read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
      raise UserError(f'{folder / JINJA} is not UTF-8: {error}') from error
  return ChatTemplate(source, tokens) if isinstance(source, str) and source else None


def check_messages(messages: Sequence[Message]) -> None:
  """Raises UserError unless there is a message, each with a known role and a text (or calls of tools)."""
  if not messages:
    raise UserError('a conversation has one message or more')
  for number, message in enumerate(messages):
    if not isinstance(message, Mapping) or message.get('role') not in ROLES:
      raise UserError(f"message {number} needs a 'role', one of {', '.join(ROLES)}")
    if not isinstance(message.get('content'), str) and not message.get('tool_calls'):
      raise UserError(f"message {number} needs a 'content', a text")


def _mark(message: Message, special: Sequence[str]) -> dict[str, Any]:
  content = message.get('content')
  if isinstance(content, str):
    content = re.sub(f'[{_BEGIN}{_END}]', '', content)
    for token in sorted(special, key=len, reverse=True):
      content = content.replace(token, token[:1] + _MARK + token[1:])
  return {**message, 'content': content}


def _environment() -> Any:
  """Jinja as Hugging Face sets it up, whose templates are written for it."""
  import jinja2.ext
  import jinja2.sandbox

  class Generation(jinja2.ext.Extension):
    """{% generation %} ... {% endgeneration %} marks what the assistant says; as text it is what it holds."""

    tags = {'generation'}  # noqa: RUF012 (Jinja's own form)

    def parse(self, parser):
      line = next(parser.stream).lineno
      mark = lambda text: jinja2.nodes.Output([jinja2.nodes.TemplateData(text)], lineno=line)
      return [mark(_BEGIN), *parser.parse_statements(('name:endgeneration',), drop_needle=True), mark(_END)]

  environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
  )

  def refuse(message):
    raise jinja2.TemplateError(message)

  def to_json(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

  def format_now(format):
    import datetime

    return datetime.datetime.now().strftime(format)

  environment.filters['tojson'] = to_json
  environment.globals |= {'raise_exception': refuse, 'strftime_now': format_now}
  return environment


def _one_line(error: Exception) -> str:
  return ' '.join(str(error).split()) or type(error).__name__
