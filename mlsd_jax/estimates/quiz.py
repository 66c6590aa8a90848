"""Back-of-envelope questions with random numbers; answers by the formulas of the estimates, with their working."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from mlsd_jax.errors import UserError
from mlsd_jax.estimates import decoding, judge, recommender, retrieval, tokenizer, transformer, units
from mlsd_jax.estimates.hardware import DEVICES, Hardware
from mlsd_jax.estimates.units import show

SHAPES = {
  'GPT-2 124M (12 layers, 12 heads of 64)': (12, 12, 768),
  'GPT-2 medium (24 layers, 16 heads of 64)': (24, 16, 1024),
  'GPT-2 large (36 layers, 20 heads of 64)': (36, 20, 1280),
  'GPT-2 XL (48 layers, 25 heads of 64)': (48, 25, 1600),
}


@dataclasses.dataclass(frozen=True)
class Question:
  """One question.

  Attributes:
    topic: of TOPICS.
    text: what is asked, with all numbers that it needs.
    answer: in the base unit of `dimension`.
    dimension: of units.DIMENSIONS; an answer in another one is refused.
    working: from the numbers to the answer, a line a step.
  """

  topic: str
  text: str
  answer: float
  dimension: str
  working: tuple[str, ...]

  def off_by(self, said: str) -> float:
    """|said / answer - 1|.

    Raises:
      UserError: no number, or a unit that does not match.
    """
    return abs(units.parse(said, self.dimension) / self.answer - 1.0)

  @property
  def shown(self) -> str:
    """The answer with its unit."""
    unit = {'rate': 'a second'}.get(self.dimension, self.dimension)
    return show(self.answer, unit)


def _pick(rng: np.random.Generator, values: Sequence):
  return values[int(rng.integers(len(values)))]


def _model(rng: np.random.Generator) -> tuple[str, transformer.Transformer]:
  name = _pick(rng, list(SHAPES))
  layers, heads, width = SHAPES[name]
  shape = dict(num_layers=layers, num_heads=heads, embed_dim=width, context_length=1024)
  return name, transformer.of_gpt(shape, 50_257)


def _cache(rng: np.random.Generator) -> Question:
  name, model = _model(rng)
  users, tokens = int(_pick(rng, (8, 16, 32, 64, 128))), int(_pick(rng, (256, 512, 1024, 4096)))
  each = model.kv_bytes(2)
  return Question(
    'cache',
    f'How large is the KV cache of {users} users at {tokens:,} tokens each, {name}, bfloat16?',
    users * tokens * each,
    'bytes',
    (
      f'a token: 2 (key, value) x 2 B x {model.heads} heads x 64 x {model.layers} layers = {show(each, "bytes")}',
      f'x {users} users x {tokens:,} tokens',
    ),
  )


def _days(rng: np.random.Generator) -> Question:
  device = _pick(rng, [DEVICES[name] for name in ('a100', 'h100', 'v5p', 'v5e')])
  count, mfu = int(_pick(rng, (8, 16, 64, 256))), float(_pick(rng, (0.3, 0.4, 0.5)))
  parameters, tokens = float(_pick(rng, (124e6, 350e6, 1.5e9, 7e9))), float(_pick(rng, (10e9, 100e9, 300e9, 1e12)))
  peak = device.peak_of('bfloat16')
  return Question(
    'training',
    f'How long does it take to train {show(parameters / 1e9, "count")}B parameters on {tokens / 1e9:g}B tokens with '
    f'{count} x {device.name} ({show(peak, "flop/s")} in bfloat16) at an MFU of {mfu:.0%}?',
    6 * parameters * tokens / (count * peak * mfu),
    'seconds',
    (
      f'operations: 6 N tokens = 6 x {parameters:.3g} x {tokens:.3g} = {6 * parameters * tokens:.3g}',
      f'speed: {count} x {peak:.3g} x {mfu:g} = {count * peak * mfu:.3g} a second',
    ),
  )


def _state(rng: np.random.Generator) -> Question:
  parameters, ways = float(_pick(rng, (350e6, 1.5e9, 7e9, 13e9, 70e9))), int(_pick(rng, (8, 16, 64, 256)))
  return Question(
    'memory',
    f'Training {show(parameters / 1e9, "count")}B parameters in mixed precision with Adam: how many bytes of weights, '
    f'gradients and moments does each of {ways} devices hold under full sharding (ZeRO-3, FSDP)?',
    16 * parameters / ways,
    'bytes',
    ('a parameter: 4 B weight + 4 B gradient + 8 B moments = 16 B (float32)', f'x {parameters:.3g} / {ways} devices'),
  )


def _critical(rng: np.random.Generator) -> Question:
  device = _pick(rng, list(DEVICES.values()))
  hardware = Hardware(device, 1)
  peak, bandwidth = device.peak_of('bfloat16'), device.bandwidth
  return Question(
    'roofline',
    f'From which batch on is decoding in bfloat16 bound by compute on {device.name} ({show(peak, "flop/s")}, '
    f'{show(bandwidth, "bytes/s")}), the cache left aside?',
    decoding.critical_batch(hardware, 'bfloat16'),
    'count',
    ('2 B N / peak = 2 B x N / bandwidth', f'B = peak / bandwidth = {peak:.3g} / {bandwidth:.3g}'),
  )


def _tokens_per_second(rng: np.random.Generator) -> Question:
  device = _pick(rng, [DEVICES[name] for name in ('h100', 'h200', 'a100', 'l4', 'v5e')])
  parameters = float(_pick(rng, (124e6, 1.5e9, 7e9)))
  size = 2 * parameters
  return Question(
    'roofline',
    f'At most how many tokens a second does one request get from {show(parameters / 1e9, "count")}B parameters in '
    f'bfloat16 on {device.name} ({show(device.bandwidth, "bytes/s")})?',
    device.bandwidth / size,
    'rate',
    (f'a token reads every weight: 2 B x {parameters:.3g} = {show(size, "bytes")}', 'bandwidth / bytes'),
  )


def _index(rng: np.random.Generator) -> Question:
  count, dim = float(_pick(rng, (1e6, 10e6, 30e6, 100e6, 1e9))), int(_pick(rng, (128, 384, 768, 1024)))
  kind, size = _pick(rng, (('float32', 4.0), ('bfloat16', 2.0), ('int8', 1.0), ('4-bit codes of 2 dimensions', 0.25)))
  return Question(
    'retrieval',
    f'How much memory do {count / 1e6:g}M vectors of {dim} dimensions take as {kind}, ids left aside?',
    count * dim * size,
    'bytes',
    (f'a vector: {dim} x {size:g} B = {dim * size:,.0f} B', f'x {count:.3g}'),
  )


def _embedding(rng: np.random.Generator) -> Question:
  documents, tokens = float(_pick(rng, (1e6, 10e6, 30e6))), int(_pick(rng, (300, 500, 900)))
  rate, devices = float(_pick(rng, (50e3, 200e3, 1e6))), int(_pick(rng, (1, 4, 8)))
  chunks = retrieval.chunks_of(tokens, 200, 32)
  read = documents * (tokens + (chunks - 1) * 32)
  return Question(
    'retrieval',
    f'{documents / 1e6:g}M documents of {tokens} tokens are cut into chunks of 200 that overlap by 32. How long does '
    f'embedding take on {devices} devices of {rate / 1e3:g}k tokens/s each?',
    read / (rate * devices),
    'seconds',
    (
      f'chunks a document: 1 + ({tokens} - 200) / 168, rounded up = {chunks:.0f}',
      f'tokens: {documents:.3g} x ({tokens} + {chunks - 1:.0f} x 32) = {read:.3g}',
      f'/ ({devices} x {rate:.3g})',
    ),
  )


def _peak_load(rng: np.random.Generator) -> Question:
  daily, requests, peak = float(_pick(rng, (1e6, 5e6, 20e6))), int(_pick(rng, (4, 10, 25))), int(_pick(rng, (2, 3, 5)))
  load = recommender.Load(daily, 1, daily, requests, peak, 1)
  return Question(
    'load',
    f'{daily / 1e6:g}M users come in a day and ask {requests} times each; the busiest second has {peak} times the '
    'mean. How many QPS is that?',
    recommender.peak_qps(load),
    'rate',
    (f'{daily:.3g} x {requests} / 86,400 = {daily * requests / units.DAY:,.0f} a second', f'x {peak}'),
  )


def _tables(rng: np.random.Generator) -> Question:
  rows, dim = float(_pick(rng, (1e6, 10e6, 100e6))), int(_pick(rng, (16, 64, 128)))
  return Question(
    'recommender',
    f'How large is an embedding table of {rows / 1e6:g}M rows of {dim} float32 with row-wise Adagrad, state included?',
    recommender.table_bytes(rows, dim),
    'bytes',
    (f'a row: {dim} x 4 B + 4 B of state = {dim * 4 + 4} B', f'x {rows:.3g}'),
  )


def _little(rng: np.random.Generator) -> Question:
  qps, latency = int(_pick(rng, (20, 100, 500, 5000))), float(_pick(rng, (0.05, 0.2, 1.5, 8.0)))
  return Question(
    'load',
    f'{qps:,} requests come in a second, and each takes {show(latency, "seconds")}. How many are in flight?',
    qps * latency,
    'count',
    (f"Little's law: {qps:,} a second x {latency:g} s",),
  )


def _workers(rng: np.random.Generator) -> Question:
  people, each = int(_pick(rng, (5_000, 20_000, 100_000))), int(_pick(rng, (4, 8, 20)))
  cases, seconds, busy = int(_pick(rng, (20, 50, 100))), float(_pick(rng, (0.05, 0.2, 0.5))), 0.7
  rate = people * each / 7200 * 3
  return Question(
    'judge',
    f'{people:,} contestants hand in {each} programs each in 2 h, three times the mean rate at the peak; a program '
    f'runs {cases} cases of {show(seconds, "seconds")}. How many cores keep them at most 70% busy?',
    float(judge.workers(rate, cases * seconds, busy)),
    'count',
    (f'peak: {people:,} x {each} / 7,200 s x 3 = {rate:,.1f} a second', f'x {cases} x {seconds:g} s / 0.7'),
  )


def _text(rng: np.random.Generator) -> Question:
  size, ratio = float(_pick(rng, (10e9, 40e9, 300e9, 1e12))), float(_pick(rng, (3.5, 4.0, 4.5)))
  vocabulary = int(_pick(rng, (32_768, 50_257, 100_277)))
  width = 2 if vocabulary <= 65_536 else 4
  load = tokenizer.Load(size, ratio, 1.0, 1, 1)
  return Question(
    'tokenizer',
    f'{show(size, "bytes")} of text has {ratio:g} bytes a token. How much do its ids take on disk, with a vocabulary '
    f'of {vocabulary:,}?',
    load.text / load.bytes_per_token * width,
    'bytes',
    (
      f'tokens: {size:.3g} / {ratio:g} = {size / ratio:.3g}',
      f'x {width} B: {math.log2(vocabulary):.1f} bits an id',
    ),
  )


_MAKERS: tuple[Callable[[np.random.Generator], Question], ...] = (
  *(_cache, _days, _state, _critical, _tokens_per_second, _index, _embedding, _peak_load, _tables, _little),
  *(_workers, _text),
)
TOPICS = tuple(dict.fromkeys(make(np.random.default_rng(0)).topic for make in _MAKERS))


def questions(number: int, seed: int, topics: Sequence[str] = ()) -> list[Question]:
  """So many questions, the same for the same seed; no kind comes again before all have been asked.

  Args:
    topics: of TOPICS, one a text or several with commas; none are all.

  Raises:
    UserError: an unknown topic.
  """
  topics = [topic.strip() for text in topics for topic in text.split(',')]
  unknown = [topic for topic in topics if topic not in TOPICS]
  if unknown:
    raise UserError(f'config.topics names {unknown[0]!r}; there are {", ".join(TOPICS)}')
  rng = np.random.default_rng(seed)
  makers = [make for make in _MAKERS if not topics or make(np.random.default_rng(0)).topic in topics]
  asked: list[Question] = []
  while len(asked) < number:
    for place in rng.permutation(len(makers))[: number - len(asked)]:
      asked.append(makers[place](rng))
  return asked
