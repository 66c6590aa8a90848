"""POST /v1/chat/completions, as OpenAI's API defines it: messages in, the assistant's next ones out.

A conversation becomes a prompt by the model's chat template, and the rest is what /v1/completions does.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.serving import completions
from mlsd_jax.serving.completions import Completion
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.metrics import Metrics
from mlsd_jax.serving.requests import ChatRequest, CompletionRequest
from mlsd_jax.serving.text_service import TextService


def read(body: ChatRequest, service: TextService) -> Completion:
  """Checks a request.

  Raises:
    ApiError: what cannot be done, naming the field.
  """
  if service.template is None:
    raise ApiError(
      400, f'{service.name} has no chat template; use /v1/completions', param='model', code='no_chat_template'
    )
  if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
    raise ApiError(400, 'max_tokens and max_completion_tokens are both given, and differ', param='max_tokens')
  role = lambda each: 'system' if each.role == 'developer' else each.role  # OpenAI's newer name
  messages = [{'role': role(each), 'content': each.text()} for each in body.messages]
  try:
    prompt = service.template.encode(messages, service.tokenizer, reply=True).tolist()
  except UserError as error:
    raise ApiError(400, str(error), param='messages') from error
  if not prompt:
    raise ApiError(400, 'the chat template makes nothing of this conversation', param='messages')
  asked = body.max_tokens if body.max_completion_tokens is None else body.max_completion_tokens
  # Without a number an answer is as long as the model wants it, and the context has room for.
  room = max(service.max_length - len(prompt), 1)
  fields = body.model_dump(exclude={'messages', 'max_tokens', 'max_completion_tokens'}, exclude_none=True)
  request = CompletionRequest(prompt=prompt, max_tokens=room if asked is None else asked, **fields)
  made = completions.read(request, service)
  made.id = made.id.replace('cmpl-', 'chatcmpl-')
  return made


async def whole(completion: Completion, metrics: Metrics, client: str) -> dict[str, Any]:
  """The answer to a request that is not streamed."""
  made = await completions.whole(completion, metrics, client)
  choices = [
    {
      'index': each['index'],
      'message': {'role': 'assistant', 'content': each['text'], 'refusal': None},
      'logprobs': None,
      'finish_reason': each['finish_reason'],
    }
    for each in made['choices']
  ]
  return made | {'object': 'chat.completion', 'choices': choices}


async def stream(completion: Completion, metrics: Metrics, client: str, path: str) -> AsyncIterator[bytes]:
  """Server-sent events: each choice begins with its role, goes on with text and ends with why it ended."""
  asked = completion.body.stream_options
  more = {'usage': None} if asked is not None and asked.include_usage else {}
  envelope = {
    'id': completion.id,
    'object': 'chat.completion.chunk',
    'created': int(time.time()),
    'model': completion.service.name,
  }
  begun: set[int] = set()

  def chunk(index: int, delta: dict[str, str], finish: str | None = None) -> bytes:
    choice = {'index': index, 'delta': delta, 'logprobs': None, 'finish_reason': finish}
    return completions.event(envelope | {'choices': [choice]} | more)

  try:
    async for piece in completions.pieces(completion, metrics, client):
      if piece['index'] not in begun:
        begun.add(piece['index'])
        yield chunk(piece['index'], {'role': 'assistant', 'content': ''})
      if piece['text']:
        yield chunk(piece['index'], {'content': piece['text']})
      if piece['finish_reason']:
        yield chunk(piece['index'], {}, piece['finish_reason'])
    if more:
      yield completions.event(envelope | {'choices': [], 'usage': completion.usage()})
  except (ApiError, UserError, RuntimeError) as error:
    known = error if isinstance(error, ApiError) else ApiError(500, 'the model failed')
    yield completions.event(known.body(path))
    return
  yield b'data: [DONE]\n\n'
