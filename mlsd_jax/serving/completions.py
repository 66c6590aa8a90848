"""POST /v1/completions, as OpenAI's API defines it: prompts in, texts out, whole or as they are written."""

import dataclasses
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from mlsd_jax.errors import UserError
from mlsd_jax.generation.requests import Request as EngineRequest
from mlsd_jax.generation.requests import TokenLogprob
from mlsd_jax.generation.sampling import SamplingConfig
from mlsd_jax.serving.errors import ApiError
from mlsd_jax.serving.metrics import Metrics
from mlsd_jax.serving.requests import MAX_CHOICES, CompletionRequest
from mlsd_jax.serving.text_service import Piece, TextService, token_text

_DEFAULT_TOKENS = 16  # OpenAI's


@dataclasses.dataclass
class Choice:
  """One text of an answer, as it grows."""

  index: int
  prompt: Sequence[int]
  text: str = ''
  tokens: int = 0
  logprobs: dict[str, list[Any]] | None = None
  finish: str | None = None
  length: int = 0  # characters told so far, for text_offset


@dataclasses.dataclass
class Completion:
  """A request that has been checked, and what it has become so far.

  Attributes:
    clamped: the tokens that the context leaves, where more were asked for.
  """

  service: TextService
  body: CompletionRequest
  prompts: Sequence[Sequence[int]]
  requests: list[tuple[EngineRequest, tuple[str, ...]]]
  choices: list[Choice]
  clamped: int | None = None
  cached: int = 0
  id: str = dataclasses.field(default_factory=lambda: f'cmpl-{secrets.token_hex(12)}')
  created: int = dataclasses.field(default_factory=lambda: int(time.time()))

  def usage(self) -> dict[str, Any]:
    """A prompt counts once, however many texts go on from it; sampled tokens count where no text shows them, too."""
    read, written = sum(map(len, self.prompts)), sum(choice.tokens for choice in self.choices)
    return {
      'prompt_tokens': read,
      'completion_tokens': written,
      'total_tokens': read + written,
      'prompt_tokens_details': {'cached_tokens': self.cached},
    }

  def headers(self) -> dict[str, str]:
    return {} if self.clamped is None else {'X-Clamped-Max-Tokens': str(self.clamped)}


def read(body: CompletionRequest, service: TextService) -> Completion:
  """Checks a request.

  Raises:
    ApiError: what cannot be done, naming the field.
  """
  if body.suffix:
    raise ApiError(400, 'suffix: the model writes on from a prompt; it cannot fill in', param='suffix')
  number = body.n or 1
  if body.best_of not in (None, number):
    raise ApiError(400, f'best_of={body.best_of} must be n={number}: every text written is told', param='best_of')
  if body.stream_options is not None and not body.stream:
    raise ApiError(400, 'stream_options needs stream=true', param='stream_options')
  prompts = [_encode(service, prompt) for prompt in _prompts(body)]
  if len(prompts) * number > MAX_CHOICES:
    raise ApiError(400, f'{len(prompts)} prompts x n={number} are more than {MAX_CHOICES} texts', param='n')
  sampling, stop = _sampling(body, service), tuple([body.stop] if isinstance(body.stop, str) else body.stop or ())
  asked = _DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
  if not asked and not body.echo:
    raise ApiError(400, 'max_tokens=0 needs echo=true', param='max_tokens')
  seed = secrets.randbits(31) if body.seed is None else body.seed
  requests: list[tuple[EngineRequest, tuple[str, ...]]] = []
  choices: list[Choice] = []
  clamped: int | None = None
  for place, prompt in enumerate(prompts):
    room = service.max_length - len(prompt)
    if room < 0 or (asked and not room):
      raise ApiError(
        400, f'the prompt has {len(prompt)} tokens; the model has room for {service.max_length} with the text',
        param='prompt', code='context_length_exceeded',
      )  # fmt: skip
    if asked > room:
      clamped = room if clamped is None else min(clamped, room)
    for sample in range(number):
      request = EngineRequest(
        prompt,
        sampling,
        max_tokens=min(asked, room),
        seed=seed,
        stream=(place, sample),
        logprobs=body.logprobs,
        prompt_logprobs=bool(body.echo and body.logprobs is not None),
      )
      try:
        service.check(request)
      except UserError as error:
        raise ApiError(400, str(error), param='prompt') from error
      requests.append((request, stop))
      choices.append(Choice(len(choices), prompt))
  return Completion(service, body, prompts, requests, choices, clamped)


async def pieces(completion: Completion, metrics: Metrics, client: str) -> AsyncIterator[dict[str, Any]]:
  """Choices as they grow: what a client of a stream is told, and what `whole` adds up."""
  service, began = completion.service, time.perf_counter()
  count = lambda kind, number: metrics.tokens.labels(service.name, kind).inc(number)
  is_first = [True] * len(completion.choices)
  async for number, piece in service.write(completion.requests, client):
    choice = completion.choices[number]
    if is_first[number]:
      metrics.first_token.labels(service.name).observe(time.perf_counter() - began)
      count('prompt', len(choice.prompt) - piece.cached_tokens)
      count('cached', piece.cached_tokens)
      completion.cached += piece.cached_tokens if number % (completion.body.n or 1) == 0 else 0
    count('sampled', len(piece.tokens))
    choice.tokens += len(piece.tokens)
    told = _echoed(completion, choice) if is_first[number] and completion.body.echo else ''
    logprobs = _logprobs(completion, choice, piece, with_prompt=is_first[number])
    is_first[number] = False
    choice.text += told + piece.text
    choice.finish = piece.finish
    yield {'index': choice.index, 'text': told + piece.text, 'logprobs': logprobs, 'finish_reason': piece.finish}


async def whole(completion: Completion, metrics: Metrics, client: str) -> dict[str, Any]:
  """The answer to a request that is not streamed."""
  async for piece in pieces(completion, metrics, client):
    choice = completion.choices[piece['index']]
    if piece['logprobs'] is not None:
      if choice.logprobs is None:
        choice.logprobs = {name: [] for name in piece['logprobs']}
      for name, values in piece['logprobs'].items():
        choice.logprobs[name] += values
  choices = [
    {'index': each.index, 'text': each.text, 'logprobs': each.logprobs, 'finish_reason': each.finish}
    for each in completion.choices
  ]
  return _envelope(completion) | {'choices': choices, 'usage': completion.usage()}


async def stream(completion: Completion, metrics: Metrics, client: str, path: str) -> AsyncIterator[bytes]:
  """Server-sent events. An error that comes when the answer has begun is an event too, in the client's shape."""
  asked = completion.body.stream_options
  with_usage = asked is not None and asked.include_usage
  try:
    async for piece in pieces(completion, metrics, client):
      if piece['text'] or piece['finish_reason'] or piece['logprobs']:
        yield event(_envelope(completion) | {'choices': [piece]} | ({'usage': None} if with_usage else {}))
    if with_usage:
      yield event(_envelope(completion) | {'choices': [], 'usage': completion.usage()})
  except (ApiError, UserError, RuntimeError) as error:
    known = error if isinstance(error, ApiError) else ApiError(500, 'the model failed')
    yield event(known.body(path))
    return
  yield b'data: [DONE]\n\n'


def _envelope(completion: Completion) -> dict[str, Any]:
  return {
    'id': completion.id,
    'object': 'text_completion',
    'created': completion.created,
    'model': completion.service.name,
  }


def event(value: Any) -> bytes:
  """A server-sent event."""
  return b'data: ' + json.dumps(value, ensure_ascii=False, allow_nan=False).encode('utf-8', 'replace') + b'\n\n'


def _prompts(body: CompletionRequest) -> list[str | list[int]]:
  prompt = body.prompt
  if isinstance(prompt, str):
    return [prompt]
  if not prompt:
    raise ApiError(400, 'prompt is an empty list', param='prompt')
  if isinstance(prompt[0], int):
    return [prompt]
  return list(prompt)


def _encode(service: TextService, prompt: str | list[int]) -> list[int]:
  """Token ids; an empty prompt begins a text of its own, behind an end of text."""
  tokenizer = service.tokenizer
  try:
    ids = tokenizer.encode(prompt).tolist() if isinstance(prompt, str) else prompt
  except UserError as error:
    raise ApiError(400, str(error), param='prompt') from error
  if isinstance(prompt, str) and tokenizer.begin_of_text is not None:
    return [tokenizer.begin_of_text, *ids]
  if ids:
    return ids
  if tokenizer.end_of_text is None:
    raise ApiError(400, 'the prompt is empty, and the model has no token that begins a text', param='prompt')
  return [tokenizer.end_of_text]


def _sampling(body: CompletionRequest, service: TextService) -> SamplingConfig:
  chosen: dict[str, Any] = {}
  names = ('temperature', 'top_p', 'min_p', 'repetition_penalty', 'presence_penalty', 'frequency_penalty')
  chosen |= {name: float(value) for name in names if (value := getattr(body, name)) is not None}
  chosen['top_k'] = max(body.top_k or 0, 0)
  bias = {}
  for token, value in (body.logit_bias or {}).items():
    if not token.isdecimal() or int(token) >= service.tokenizer.vocab_size:
      raise ApiError(400, f'logit_bias: {token[:20]!r} is no token id of {service.name}', param='logit_bias')
    bias[int(token)] = value
  try:
    return SamplingConfig(**chosen, logit_bias=bias)
  except UserError as error:
    raise ApiError(400, str(error)) from error


def _echoed(completion: Completion, choice: Choice) -> str:
  return completion.service.tokenizer.decode(choice.prompt)


def _logprobs(
  completion: Completion, choice: Choice, piece: Piece, *, with_prompt: bool
) -> dict[str, list[Any]] | None:
  """OpenAI's four lists, of one piece; the first token of an echoed prompt has no probability."""
  if completion.body.logprobs is None:
    return None
  told: dict[str, list[Any]] = {'tokens': [], 'token_logprobs': [], 'top_logprobs': [], 'text_offset': []}

  def tell(token: int, known: TokenLogprob | None) -> None:
    shown = token_text(completion.service.tokenizer, token)
    told['tokens'].append(shown)
    told['token_logprobs'].append(None if known is None else known.logprob)
    top = None
    if known is not None and completion.body.logprobs:
      top = {token_text(completion.service.tokenizer, other): value for other, value in known.top}
    told['top_logprobs'].append(top)
    told['text_offset'].append(choice.length)
    choice.length += len(completion.service.tokenizer.decode([token]))

  if with_prompt and completion.body.echo:
    for token, known in zip(choice.prompt, [None, *(piece.prompt_logprobs or ())], strict=True):
      tell(token, known)
  for token, known in zip(piece.tokens, piece.logprobs or (), strict=True):
    tell(token, known)
  return told
