"""Search on paper: chunks, hours of embedding, bytes a vector, candidates scanned, the budget of a query, replicas.

Names: C chunks, D dimensions of a vector, s partitions looked at. Sources: ScaNN (Guo et al. 2020, arXiv:1908.10396),
HNSW (Malkov and Yashunin 2016, arXiv:1603.09320, section 4.2.3), operations a token as in transformer.py.
"""

import dataclasses
import math

from mlsd_jax.estimates.hardware import BYTES, Hardware
from mlsd_jax.estimates.table import Group, Row
from mlsd_jax.estimates.transformer import Transformer
from mlsd_jax.estimates.units import show

# What ids, row numbers and ScaNN's own ids take of each vector, in memory and on disk: what is left of the bytes that
# benchmarks/ann.py --sizes prints when codes and vectors are taken off (docs/explanation/ann.md).
IDS_IN_MEMORY, IDS_ON_DISK = 32.0, 22.0
# recall = 1 - exp(-a s^b) of s partitions of sqrt(N), through what benchmarks/ann.py --count=1000000 printed.
RECALL_SCALE, RECALL_POWER = 0.60, 0.41
CORE_BYTES_PER_SECOND = 10e9  # that one core of a server streams
CORE_FLOPS = 60e9  # float32 products, AVX2 and above
# BM25 scores every posting of a query's words and looks at every text once for the best, as benchmarks/bm25_scale.py
# printed for 16M texts: a posting of so many misses the cache for its text's length and score.
POSTING_SECONDS, TEXT_SECONDS = 14e-9, 1.5e-9


@dataclasses.dataclass(frozen=True)
class Load:
  """A corpus and what is asked of it.

  Attributes:
    documents: that there are.
    tokens_per_document: on average.
    qps: queries a second at the peak.
    query_tokens: of a query.
    p99: seconds that the slowest of 100 queries may take.
    updates_per_day: documents that change.
    mfu: share of the peak that embedding reaches.
  """

  documents: float
  tokens_per_document: float
  qps: float
  query_tokens: int
  p99: float
  updates_per_day: float
  mfu: float


@dataclasses.dataclass(frozen=True)
class Setting:
  """How vectors are kept: the fields of IndexConfig (mlsd_jax/ann/config.py) that cost bytes."""

  dims_per_block: int = 2
  reorder_dtype: str = 'int8'
  stored: str = 'float32'


SETTINGS = (
  Setting(reorder_dtype='float32'),
  Setting(reorder_dtype='bfloat16'),
  Setting(),
  Setting(stored='int8'),
  Setting(4, 'none', 'int8'),
)


def chunks_of(tokens: float, max_tokens: int, overlap: int) -> float:
  """Chunks of a document: 1 + (tokens - max_tokens) / (max_tokens - overlap), rounded up; 1 where pages stay whole."""
  if not max_tokens or tokens <= max_tokens:
    return 1.0
  return 1.0 + math.ceil((tokens - max_tokens) / (max_tokens - overlap))


def bytes_in_memory(dim: int, setting: Setting) -> float:
  """Of a vector: 4 bits of code a block of dimensions, what ScaNN scores again, ids. The stored vectors are mapped."""
  codes = math.ceil(dim / setting.dims_per_block) / 2
  reorder = 0 if setting.reorder_dtype == 'none' else dim * BYTES[setting.reorder_dtype]
  return codes + reorder + IDS_IN_MEMORY


def bytes_on_disk(dim: int, setting: Setting) -> float:
  """Of a vector: the stored one, what ScaNN scores again, a byte of code a block (ScaNN writes them unpacked), ids."""
  reorder = 0 if setting.reorder_dtype == 'none' else dim * BYTES[setting.reorder_dtype]
  return dim * BYTES[setting.stored] + reorder + math.ceil(dim / setting.dims_per_block) + IDS_ON_DISK


def hnsw_bytes(dim: int, links: int = 16) -> float:
  """Of a vector in a graph of M links: 4 D of the vector, 2 M links of 4 B at the bottom, M / (M - 1) above, an id."""
  return 4.0 * dim + 4.0 * (2 * links + links / (links - 1)) + 8.0


def scanned(count: float, partitions: float, looked_at: float) -> float:
  """Vectors whose codes a query reads: N s / partitions."""
  return count * looked_at / partitions


def recall(looked_at: float, scale: float = RECALL_SCALE, power: float = RECALL_POWER) -> float:
  """Recall@10 of `looked_at` partitions of sqrt(N): 1 - exp(-a s^b).

  The share that is missed falls as a stretched exponential in the partitions looked at: no law, but what recall against
  candidates scanned looks like over three decades of it. Other data have another a and b.
  """
  return 1.0 - math.exp(-scale * looked_at**power)


def partitions_for(wanted: float, scale: float = RECALL_SCALE, power: float = RECALL_POWER) -> float:
  """The inverse of `recall`."""
  return (-math.log(1.0 - wanted) / scale) ** (1.0 / power)


def search_seconds(
  count: float,
  dim: int,
  looked_at: float,
  reorder: int = 100,
  dims_per_block: int = 2,
  bandwidth: float = CORE_BYTES_PER_SECOND,
) -> float:
  """One query on one core, bound by memory: sqrt(N) centroids, the codes of what is scanned, reordered vectors."""
  partitions = math.sqrt(count)
  read = partitions * dim * 4 + scanned(count, partitions, looked_at) * dim / dims_per_block / 2 + reorder * dim * 5
  return read / bandwidth


def estimate(
  encoder: Transformer,
  load: Load,
  hardware: Hardware,
  *,
  max_tokens: int,
  overlap: int,
  max_length: int,
  dtype: str,
  rerank: int,
) -> list[Group]:
  """Everything about embedding, keeping and searching a corpus, in groups to print.

  Args:
    max_tokens, overlap: of chunks (config.chunk); 0 keeps pages whole.
    max_length: tokens at which the encoder cuts.
    dtype: of the encoder.
    rerank: pages that a cross-encoder of the same size sees of each query.
  """
  each = chunks_of(load.tokens_per_document, max_tokens, overlap)
  chunks = load.documents * each
  # What the encoder cuts off a page that is not chunked is not read; an overlap is read twice.
  of_document = load.tokens_per_document + (each - 1) * overlap
  length = min(of_document / each, max_length)
  tokens = chunks * length
  flops = encoder.forward_flops(length)
  rate = hardware.count * hardware.device.peak_of(dtype) * load.mfu / flops
  dim = encoder.width
  return [
    Group(
      f'embedding on {hardware}',
      (
        Row('parameters', encoder.parameters, 'count', 'counted'),
        Row('chunks', chunks, 'count', f'documents x (1 + (tokens - {max_tokens}) / ({max_tokens} - {overlap}))'),
        Row('tokens', tokens, 'count', "documents x (tokens + overlaps), cut at the encoder's length"),
        Row('FLOPs a token', flops, 'flop', '2 x weights in products + 4 L D T'),
        Row('tokens/s', rate, 'count', f'devices x peak x {load.mfu:g} / FLOPs a token'),
        Row('time for all', tokens / rate, 'seconds', 'tokens / rate: also what a new encoder costs'),
        Row('dollars for all', tokens / rate / 3600 * hardware.dollars_per_hour, 'dollars', hardware.device.price),
        Row(
          'updates',
          load.updates_per_day * each * length / rate,
          'seconds',
          'a day: changed documents x chunks x tokens / rate',
        ),
      ),
    ),
    _kept(chunks, dim),
    _query(encoder, load, chunks, dim, rerank, max_length),
  ]


def _kept(chunks: float, dim: int) -> Group:
  rows = [Row('vectors, float32', chunks * dim * 4, 'bytes', f'chunks x {dim} x 4 B')]
  for each in SETTINGS:
    name = f'{each.reorder_dtype}, stored {each.stored}, {each.dims_per_block} a code'
    memory, disk = bytes_in_memory(dim, each), bytes_on_disk(dim, each)
    rows.append(
      Row(
        name,
        chunks * memory,
        'bytes',
        f'in memory, {memory:.0f} B a vector; on disk {disk:,.0f} B, {show(disk * chunks, "bytes")}',
      )
    )
  rows.append(
    Row('a graph (HNSW, M = 16)', chunks * hnsw_bytes(dim), 'bytes', f'{hnsw_bytes(dim):,.0f} B a vector in memory')
  )
  return Group('the index, by what is scored again and what is stored', tuple(rows))


def _query(encoder: Transformer, load: Load, chunks: float, dim: int, rerank: int, max_length: int) -> Group:
  looked_at = min(partitions_for(0.95), math.sqrt(chunks))
  # A lone short text is bound by reading the weights or by the core's arithmetic, whichever is slower.
  matrices = encoder.layers * (encoder.attention_matrices + encoder.mlp_matrices)
  arithmetic = load.query_tokens * encoder.forward_flops(load.query_tokens) / CORE_FLOPS
  encode = max(4.0 * matrices / CORE_BYTES_PER_SECOND, arithmetic)
  search = search_seconds(chunks, dim, looked_at)
  words = 4.0  # of a query that are searched
  bm25 = load.documents * (words * 0.02 * POSTING_SECONDS + TEXT_SECONDS)
  reranked = rerank * max_length * encoder.forward_flops(max_length) / CORE_FLOPS
  stages = {'encode': encode, 'dense search': search, 'BM25': bm25, 'rerank': reranked}
  total = sum(stages.values())
  rows = (
    Row(
      'encode',
      encode,
      'seconds',
      f'max(4 B x weights / bandwidth, {load.query_tokens} x FLOPs / peak), one core',
    ),
    Row(
      'partitions for recall 0.95',
      looked_at,
      'count',
      f'(-ln 0.05 / {RECALL_SCALE})^(1 / {RECALL_POWER})',
    ),
    Row(
      'vectors scanned', scanned(chunks, math.sqrt(chunks), looked_at), 'count', 'chunks x partitions / sqrt(chunks)'
    ),
    Row('dense search', search, 'seconds', '(centroids + codes scanned + reordered) / bandwidth'),
    Row('BM25', bm25, 'seconds', 'documents x (4 words x 2% x 14 ns a posting + 1.5 ns), every posting scored'),
    *((Row('rerank', reranked, 'seconds', f'{rerank} x {max_length} tokens x FLOPs / peak'),) if rerank else ()),
    Row('in all', total, 'seconds', 'one after the other on one core'),
    Row('allowed at the mean', load.p99 / 3, 'seconds', 'p99 / 3: queues and long queries make the tail'),
    Row(
      'cores', math.ceil(load.qps * total / 0.6), 'count', 'QPS x seconds / 0.6 (utilisation that keeps queues short)'
    ),
    Row('in flight', load.qps * total, 'count', "QPS x seconds (Little's law)"),
  )
  largest = max(stages, key=lambda name: stages[name])
  fits = f'it is within p99 / 3 by {load.p99 / 3 / total:.1f} times' if total <= load.p99 / 3 else 'it is over p99 / 3'
  note = f'{largest} bounds a query ({stages[largest] / total:.0%}); {fits}'
  if total > load.p99 / 3:
    note += (
      f': an accelerator for the slowest stage, {math.ceil(3 * total / load.p99)} shards of it, or fewer to rerank'
    )
  return Group(f'a query, {load.qps:,.0f} a second', rows, (note,))
