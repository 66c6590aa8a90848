"""Bodies of requests as pydantic models: each key is of its type and in its range, and none is dropped in silence."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

MAX_CHOICES = 128  # prompts x n of one request
MAX_NAMES = 1024  # words of one request

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Token = Annotated[int, Field(ge=0, le=2**31 - 1)]
Text = Annotated[str, Field(max_length=2**22)]
Texts = Annotated[list[Text], Field(max_length=2048)]


class Body(BaseModel):
  """A key that is not known is refused: who wrote it meant something by it. So is '0.5' or true for a number."""

  model_config = ConfigDict(extra='forbid', strict=True)


class StreamOptions(Body):
  include_usage: bool = False
  include_obfuscation: bool | None = None  # OpenAI's padding against eavesdroppers; there is none here


class Sampling(Body):
  """What completions and chats have in common."""

  model: str
  temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
  top_p: Annotated[float, Field(gt=0, le=1)] | None = None
  top_k: Annotated[int, Field(ge=-1, le=2**31 - 1)] | None = None  # 0 and -1 keep all
  min_p: Annotated[float, Field(ge=0, le=1)] | None = None
  repetition_penalty: Annotated[float, Field(gt=0, le=100)] | None = None
  presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
  frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
  logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
  n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
  seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
  stop: (
    Annotated[str, Field(min_length=1, max_length=1000)]
    | Annotated[list[Annotated[str, Field(min_length=1, max_length=1000)]], Field(max_length=16)]
    | None
  ) = None
  stream: bool | None = None
  stream_options: StreamOptions | None = None
  user: str | None = None


class CompletionRequest(Sampling):
  """POST /v1/completions."""

  prompt: Text | list[Text] | list[Token] | list[list[Token]] = ''
  max_tokens: Count | None = None  # 16, as OpenAI has it
  logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
  echo: bool | None = None
  best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
  suffix: str | None = None


class TextPart(Body):
  type: Literal['text']
  text: Text


class ChatMessage(Body):
  """One message; what it says is a text, or texts in a row."""

  role: Literal['system', 'developer', 'user', 'assistant']
  content: Text | Annotated[list[TextPart], Field(min_length=1, max_length=1000)]
  name: None = None

  def text(self) -> str:
    return self.content if isinstance(self.content, str) else ''.join(part.text for part in self.content)


class ChatRequest(Sampling):
  """POST /v1/chat/completions."""

  messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=1000)]
  max_tokens: Count | None = None
  max_completion_tokens: Count | None = None  # the newer name of the same


class EmbeddingRequest(Body):
  """POST /v1/embeddings."""

  model: str
  input: Text | Texts | list[Token] | list[list[Token]]
  encoding_format: Literal['float', 'base64'] = 'float'
  dimensions: Annotated[int, Field(ge=1)] | None = None
  user: str | None = None
  input_type: Literal['query', 'passage'] = 'passage'  # ours: which prefix the encoder was trained with


class Document(BaseModel):
  """Jina's and Cohere's documents may be objects; their text is what is ranked."""

  model_config = ConfigDict(extra='allow', strict=True)
  text: Text


class RerankRequest(Body):
  """POST /v1/rerank and /v2/rerank (Cohere, Jina); POST /rerank with `documents` (Jina)."""

  model: str | None = None
  query: Text
  documents: Annotated[list[Text | Document], Field(min_length=1, max_length=1000)]
  top_n: Annotated[int, Field(ge=1)] | None = None
  return_documents: bool | None = None
  max_tokens_per_doc: int | None = None
  max_chunks_per_doc: int | None = None
  rank_fields: list[str] | None = None
  priority: int | None = None


class TeiEmbedRequest(Body):
  """POST /embed of Text Embeddings Inference."""

  inputs: Text | Texts
  normalize: bool = True
  truncate: bool = False
  truncation_direction: Literal['right', 'Right'] = 'right'
  prompt_name: Literal['query', 'passage'] | None = None
  dimensions: int | None = None


class TeiRerankRequest(Body):
  """POST /rerank of Text Embeddings Inference."""

  query: Text
  texts: Annotated[list[Text], Field(min_length=1, max_length=1000)]
  raw_scores: bool = False
  return_text: bool = False
  truncate: bool = False
  truncation_direction: Literal['right', 'Right'] = 'right'


class SearchRequest(Body):
  """POST /v1/search and /v1/ask."""

  query: Annotated[str, Field(min_length=1, max_length=10_000)]
  model: str | None = None
  folder: str = ''
  number: Annotated[int, Field(ge=1, le=100)] = 10  # pages told


class RecommendRequest(Body):
  """POST /v1/recommend."""

  user: Annotated[str, Field(max_length=1000)]
  model: str | None = None
  number: Annotated[int, Field(ge=1, le=1000)] = 12
  exclude_bought: bool | None = None
  in_stock: Annotated[list[str], Field(min_length=1, max_length=2**20)] | None = None  # ids; others are left out
  blocked: Annotated[list[str], Field(max_length=2**20)] | None = None  # ids that are left out
  pinned: Annotated[list[str], Field(max_length=1000)] | None = None  # ids that stand first
  at_most: dict[str, Annotated[int, Field(ge=0, le=1000)]] | None = None  # places of a category, '*' of each other one
  diversity: Annotated[float, Field(ge=0, le=1)] | None = None  # of MMR
  explore: Annotated[float, Field(ge=0, le=1)] | None = None  # share of places for items that are new


class EventRequest(Body):
  """POST /v1/events: one, or one of a list."""

  user: Annotated[str, Field(min_length=1, max_length=1000)]
  item: Annotated[str, Field(min_length=1, max_length=1000)]
  kind: Literal['purchase', 'click', 'impression'] = 'purchase'
  time: Annotated[str, Field(max_length=100)] | Number | None = None  # ISO 8601 with a zone, or seconds; None is now
  id: Annotated[str, Field(min_length=1, max_length=1000)] | None = None  # a repeated one counts once
  price: Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)] | None = None  # None: what it cost lately
  quantity: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)] = 1.0
  answer: Annotated[str, Field(max_length=100)] = ''  # the id of the answer that it followed
  model: str | None = None


# By what it is, so that an error names the field and not that it is no list either.
type EventsRequest = Annotated[
  Annotated[EventRequest, Tag('event')]
  | Annotated[list[EventRequest], Field(min_length=1, max_length=10_000), Tag('events')],
  Discriminator(lambda body: 'events' if isinstance(body, list) else 'event'),
]


# Columns of the item table by name; `id` among them.
type ItemColumns = Annotated[
  dict[Annotated[str, Field(max_length=100)], Annotated[str, Field(max_length=10_000)] | None], Field(max_length=200)
]


class ItemsRequest(Body):
  """POST /v1/items."""

  items: Annotated[list[ItemColumns], Field(min_length=1, max_length=1000)]
  model: str | None = None


class RollbackRequest(Body):
  """POST /v1/models/rollback."""

  model: Annotated[str, Field(max_length=1000)]


class TokenizeRequest(Body):
  """POST /v1/tokenize."""

  text: Text
  model: str | None = None
  pieces: bool = False  # tell what each token stands for, too


class DetokenizeRequest(Body):
  """POST /v1/detokenize."""

  tokens: Annotated[list[Token], Field(max_length=2**20)]
  model: str | None = None


class NamesRequest(Body):
  """POST /v1/names."""

  model: str | None = None
  rung: str | None = None  # the last of the ladder
  words: Annotated[list[Annotated[str, Field(max_length=1000)]], Field(min_length=1, max_length=MAX_NAMES)] | None = (
    None
  )
  number: Annotated[int, Field(ge=1, le=MAX_NAMES)] | None = (
    None  # 10; new words, where `words` names none to be scored
  )
  seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None  # 0


class ExpressionRequest(Body):
  """POST /v1/micrograd."""

  expression: str
  values: Annotated[dict[Annotated[str, Field(max_length=100)], Number], Field(max_length=1000)] = {}
  svg: bool = False


class AttentionRequest(Body):
  """POST /v1/attention."""

  text: Annotated[str, Field(min_length=1, max_length=10_000)]
  model: str | None = None


class JudgeRequest(Body):
  """POST /v1/judge."""

  problem: Annotated[str, Field(max_length=1000)]
  source: Annotated[str, Field(min_length=1, max_length=2**16)]
  language: Literal['python', 'cpp', 'c', 'java', 'rust', 'javascript'] = 'python'


_Size = Annotated[int, Field(ge=1, le=2**20)]


class EstimateRequest(Body):
  """POST /v1/estimate: a GPT-2 by its sizes (the defaults are the 124M), its training, its load, the hardware."""

  num_layers: Annotated[int, Field(ge=1, le=1000)] = 12
  num_heads: Annotated[int, Field(ge=1, le=1000)] = 12
  embed_dim: _Size = 768
  context_length: _Size = 1024
  vocab_size: _Size = 50257
  vocab_multiple: Annotated[int, Field(ge=1, le=4096)] = 128
  batch_size: _Size = 512
  accumulation: _Size = 1
  steps: Annotated[int, Field(ge=1, le=10**9)] = 600_000
  data: Annotated[int, Field(ge=-1, le=2**20)] = -1  # devices of each axis of the mesh; -1 takes what is left
  fsdp: Annotated[int, Field(ge=-1, le=2**20)] = 1
  tensor: Annotated[int, Field(ge=-1, le=2**20)] = 1
  dtype: Literal['float32', 'bfloat16'] = 'bfloat16'
  remat: Literal['none', 'full', 'dots'] = 'none'
  fused_attention: bool = True
  loss_chunks: Annotated[int, Field(ge=1, le=1024)] = 8
  hardware: Annotated[str, Field(max_length=100)] = '8xh100'
  dollars_per_hour: Annotated[float, Field(ge=0, le=1e6)] | None = None
  mfu: Annotated[float, Field(ge=0.001, le=1)] = 0.4
  qps: Annotated[float, Field(gt=0, le=1e9)] = 10.0
  prompt_tokens: Annotated[int, Field(ge=0, le=2**20)] = 0  # 0: half of the context
  new_tokens: Annotated[int, Field(ge=0, le=2**20)] = 0  # 0: a quarter of it
  batch: Annotated[int, Field(ge=0, le=2**20)] = 0  # 0: as many as fit, at most the critical batch
  serve_dtype: Literal['float32', 'bfloat16', 'int8'] = 'bfloat16'


type Json = dict[str, Any]
