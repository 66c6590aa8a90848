"""What a server of small runs must answer, computed in this process, and the requests that ask for it."""

import base64
import dataclasses
import json
import math
import pathlib
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.serving_runs import GPT, NAME, gpt2_params
from experiments.serve_systems import SYSTEMS
from mlsd_jax.generation import SamplingConfig, generate
from mlsd_jax.serving import Services
from mlsd_jax.serving.config import ServerConfig
from mlsd_jax.tokenizers import ByteTokenizer

PROMPTS = ('copy', 'a', 'the wall, and if ', 'é日本', 'x' * 70, 'green bottles hanging on the wall' * 2)
TOKENS = 24
TEXTS = ('How to copy a folder', 'send mail', 'é' * 5, 'parse dates and numbers ' * 9)
QUERIES = ('copy a folder', 'how do I send mail', 'dates', 'number')
_GREEDY = SamplingConfig(temperature=0.0)


class WrongAnswerError(Exception):
  """An answer that is not the right one."""


def check(condition: bool, message: str) -> None:
  if not condition:
    raise WrongAnswerError(message)


@dataclasses.dataclass
class Versions:
  """Which versions of the language model may answer now: from the last that was seen to the last that was written."""

  seen: int = 0
  written: int = 0


@dataclasses.dataclass
class Ledger:
  """Purchases: by user what was acknowledged, with the number that each user had before any."""

  before: dict[str, int] = dataclasses.field(default_factory=dict)
  acknowledged: dict[str, set[str]] = dataclasses.field(default_factory=dict)
  bought: dict[str, set[str]] = dataclasses.field(default_factory=dict)
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class Answers:
  """Of one folder of runs; texts by version of the language model are computed when they are first needed."""

  def __init__(self, runs: pathlib.Path, systems):
    self.systems = set(systems)
    self.versions, self.ledger = Versions(), Ledger()
    self._texts: dict[int, list[str]] = {}
    self._lock = threading.Lock()
    settings = ServerConfig(runs=str(runs), state=str(runs.parent / 'unused'))
    self.known = Services()
    for name in ('mingpt', 'retrieval', 'makemore'):
      if name in self.systems:
        SYSTEMS[name].open(runs / name / NAME, f'{name}/{NAME}', settings, self.known)
    self.rungs = {
      name: generate_texts(service.params, service.decoder.config, service.tokenizer, ['green ', 'if '])
      for name, service in self.known.texts.items()
    }
    for service in self.known.vectors.values():
      self.encoder = service.encoder
      self.vectors = self.encoder.encode(list(TEXTS))
    for search in self.known.searches.values():
      store = search.searcher.store
      self.pages = [[store.page_ids[hit.page] for hit in search.searcher.search(query).hits] for query in QUERIES]
    for names in self.known.names.values():
      rung, model = next(reversed(names.models.items()))
      self.words = (rung, ['malo', 'riten'], model.losses(['malo', 'riten']))

  def texts(self, version: int) -> list[str]:
    """Greedy texts of PROMPTS by one version, each written alone."""
    with self._lock:
      if version not in self._texts:
        self._texts[version] = generate_texts(gpt2_params(version), GPT, ByteTokenizer(), PROMPTS)
      return self._texts[version]


def generate_texts(params: Any, config: Any, tokenizer: Any, prompts) -> list[str]:
  room = config.context_length
  tokens = min(TOKENS, room - max(len(tokenizer.encode(each)) for each in prompts))
  options: dict[str, Any] = dict(sampling=_GREEDY, max_new_tokens=tokens, batch_size=1)
  return [sample.text for sample in generate(params, config, tokenizer, list(prompts), **options)]


type Post = Callable[[str, Any], tuple[int, Any]]  # (path, body) -> status, what came


def text(answers: Answers, post: Post, rng: random.Random) -> None:
  """Whole or streamed, by any version that may answer."""
  place, low = rng.randrange(len(PROMPTS)), answers.versions.seen
  body = {'model': f'gpt2/{NAME}', 'prompt': PROMPTS[place], 'max_tokens': TOKENS, 'temperature': 0}
  streamed = rng.random() < 0.5
  _, told = post('/v1/completions', body | {'stream': streamed})
  if streamed:
    check(told[-1] == '[DONE]', f'a stream ended with {str(told[-1])[:200]}')
    said = ''.join(json.loads(each)['choices'][0]['text'] for each in told[:-1])
  else:
    said = told['choices'][0]['text']
  versions = [each for each in range(low, answers.versions.written + 1) if answers.texts(each)[place] == said]
  check(bool(versions), f'{PROMPTS[place][:20]!r} was continued by {said!r}, which no version from {low} on writes')
  answers.versions.seen = max(answers.versions.seen, versions[0])


def sampled(answers: Answers, post: Post, rng: random.Random) -> None:
  """The same seed twice in one request of several texts, with everything that a request may choose."""
  body = {
    'model': f'gpt2/{NAME}', 'prompt': [PROMPTS[0], PROMPTS[0]], 'max_tokens': 8, 'temperature': 0.9, 'top_k': 20,
    'n': 2, 'seed': rng.randrange(1000), 'presence_penalty': 0.5, 'logprobs': 3, 'stop': ['zz'],
  }  # fmt: skip
  _, told = post('/v1/completions', body)
  check(len(told['choices']) == 4, 'two prompts of two texts were not four choices')
  check(told['usage']['completion_tokens'] <= 32, 'more tokens than were asked for')


def rung(answers: Answers, post: Post, rng: random.Random) -> None:
  name = rng.choice(list(answers.rungs))
  prompt, expected = rng.choice(list(zip(['green ', 'if '], answers.rungs[name], strict=True)))
  _, told = post('/v1/completions', {'model': name, 'prompt': prompt, 'max_tokens': TOKENS, 'temperature': 0})
  check(
    told['choices'][0]['text'].startswith(expected), f'{name} wrote {told["choices"][0]["text"]!r}, not {expected!r}'
  )


def attention(answers: Answers, post: Post, rng: random.Random) -> None:
  _, told = post('/v1/attention', {'model': f'gpt2/{NAME}', 'text': rng.choice(PROMPTS[:4])})
  check(
    all(abs(sum(row) - 1) < 0.01 for layer in told['weights'] for head in layer for row in head), 'a look is not whole'
  )


def embed(answers: Answers, post: Post, rng: random.Random) -> None:
  chosen = rng.sample(range(len(TEXTS)), 3)
  form = rng.choice(('float', 'base64'))
  _, told = post(
    '/v1/embeddings',
    {'model': answers.encoder.name, 'input': [TEXTS[i] for i in chosen], 'encoding_format': form},
  )
  read = np.array if form == 'float' else lambda text: np.frombuffer(base64.b64decode(text), '<f4')
  for place, row in zip(chosen, told['data'], strict=True):
    check(
      bool(np.allclose(read(row['embedding']), answers.vectors[place], atol=1e-5)), f'{TEXTS[place]!r}: another vector'
    )


def rerank(answers: Answers, post: Post, rng: random.Random) -> None:
  _, told = post(
    '/v2/rerank', {'model': answers.encoder.name, 'query': rng.choice(QUERIES), 'documents': list(TEXTS[:3])}
  )
  scores = [each['relevance_score'] for each in told['results']]
  check(sorted(each['index'] for each in told['results']) == [0, 1, 2], 'not every document was ranked')
  check(scores == sorted(scores, reverse=True), 'the best document is not the first')


def search(answers: Answers, post: Post, rng: random.Random) -> None:
  place = rng.randrange(len(QUERIES))
  path = rng.choice(('/v1/search', '/v1/ask'))
  _, told = post(path, {'query': QUERIES[place]})
  if path == '/v1/search':
    found = [each['id'] for each in told['pages']]
    check(found == answers.pages[place][: len(found)] != [], f'{QUERIES[place]!r} finds {found}')


def names(answers: Answers, post: Post, rng: random.Random) -> None:
  rung_, words, losses = answers.words
  _, told = post('/v1/names', {'words': words, 'rung': rung_})
  for each, row in zip(told['words'], losses, strict=True):
    check(
      math.isclose(each['nats'], float(np.sum(row[: len(each['word']) + 1])), rel_tol=1e-4),
      f'{each["word"]}: other nats',
    )


def gradient(answers: Answers, post: Post, rng: random.Random) -> None:
  w, x = rng.uniform(-2, 2), rng.uniform(-2, 2)
  _, told = post('/v1/micrograd', {'expression': 'tanh(w * x)', 'values': {'w': w, 'x': x}})
  check(math.isclose(told['gradients']['w'], x * (1 - math.tanh(w * x) ** 2), abs_tol=1e-9), 'another gradient')


def tokens(answers: Answers, post: Post, rng: random.Random) -> None:
  shown = ''.join(rng.choice('aé日🙂 ') for _ in range(20))
  _, told = post('/v1/tokenize', {'text': shown, 'model': f'tokenizer/{NAME}'})
  check(told['tokens'] == list(shown.encode()), 'other tokens')
  _, told = post('/v1/detokenize', {'tokens': told['tokens'], 'model': f'tokenizer/{NAME}'})
  check(told['text'] == shown, 'the tokens are of another text')


def verdict(answers: Answers, post: Post, rng: random.Random) -> None:
  source, expected = rng.choice((('print(1)', 'WA'), ('def', 'CE'), ('raise SystemExit(1)', 'RE')))
  _, told = post('/v1/judge', {'problem': '2044/A', 'source': source})
  check(told['verdict'] == expected, f'{source!r} was judged {told["verdict"]}')


def recommend(answers: Answers, post: Post, rng: random.Random) -> None:
  """By rules of the request; what a user was told to have bought is left out where that was asked."""
  user = f'u{rng.randrange(1, 150)}'
  with answers.ledger.lock:
    mine = set(answers.ledger.bought.get(user, ()))
  _, told = post('/v1/recommend', {'user': user, 'number': 8, 'exclude_bought': True, 'at_most': {'*': 3}})
  ids = [each['id'] for each in told['items']]
  check(len(set(ids)) == len(ids), f'{user} is shown an item twice')
  check(not mine & set(ids), f'{user} is shown {mine & set(ids)}, bought before')
  categories = [each['category'] for each in told['items']]
  check(max(map(categories.count, categories), default=0) <= 3, 'more than 3 of a category')


def buy(answers: Answers, post: Post, rng: random.Random) -> None:
  """Sent again, under the same id, until it is acknowledged."""
  ledger, user = answers.ledger, f'u{rng.randrange(1, 150)}'
  with ledger.lock:
    known = user in ledger.before
  _, told = post('/v1/recommend', {'user': user, 'number': 4})
  item, number = rng.choice(told['items'])['id'], f'{rng.getrandbits(64):x}'
  if not known:
    return
  with ledger.lock:  # it may be in the log from now on
    ledger.acknowledged.setdefault(user, set()).add(number)
  post('/v1/events', {'user': user, 'item': item, 'id': number, 'answer': told['answer']})
  with ledger.lock:
    ledger.bought.setdefault(user, set()).add(item)
  _, told = post('/v1/recommend', {'user': user, 'number': 4})
  check(
    item in [each['id'] for each in told['history'][:20]], f'{user} has bought {item}, and the next answer lacks it'
  )


# Name -> (the system it needs, its share of the requests, what it does).
ASKS: dict[str, tuple[str, int, Callable[[Answers, Post, random.Random], None]]] = {
  'text': ('gpt2', 6, text),
  'sampled': ('gpt2', 2, sampled),
  'attention': ('gpt2', 1, attention),
  'rung': ('mingpt', 3, rung),
  'embed': ('retrieval', 4, embed),
  'rerank': ('retrieval', 2, rerank),
  'search': ('retrieval', 3, search),
  'names': ('makemore', 2, names),
  'gradient': ('', 2, gradient),
  'tokens': ('tokenizer', 2, tokens),
  'verdict': ('judge', 1, verdict),
  'recommend': ('recsys', 4, recommend),
  'buy': ('recsys', 3, buy),
}
