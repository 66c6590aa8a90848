"""A tokenizer on paper: tokens of a text, hours to cut it, memory and time of learning merges, bytes of its tables.

Distinct pieces of a text grow by Heaps' law, K n^b (Heaps 1978); memory of BPE's training grows with them, not with the
text (docs/explanation/tokenizers.md).
"""

import dataclasses

from mlsd_jax.estimates.table import Group, Row

# benchmarks/tokenizer_train.py on two cores: 75 MB of novels take 0.23 GB above the text and 4.0 s for 32,768 merges;
# 10 GB 2.88 GB. Two points give the exponent.
REFERENCE_BYTES, REFERENCE_MEMORY, REFERENCE_RATE = 75e6, 0.23e9, 19e6
HEAPS_POWER = 0.52


@dataclasses.dataclass(frozen=True)
class Load:
  """A text and what cuts it.

  Attributes:
    text: bytes.
    bytes_per_token: of text, measured on a sample of it.
    rate: bytes/s that one core encodes.
    cores: that do.
    embed_dim: width of the model that will read the tokens.
  """

  text: float
  bytes_per_token: float
  rate: float
  cores: int
  embed_dim: int


def training_memory(text: float) -> float:
  """Bytes above the text to learn merges from `text` bytes: reference x (text / reference text)^0.52."""
  return REFERENCE_MEMORY * (text / REFERENCE_BYTES) ** HEAPS_POWER


def estimate(vocab_size: int, load: Load) -> list[Group]:
  """Everything about learning and using a vocabulary, in groups to print."""
  tokens = load.text / load.bytes_per_token
  table = vocab_size * load.embed_dim
  return [
    Group(
      'tokens',
      (
        Row('bytes a token', load.bytes_per_token, 'count', 'measured on a sample; English and code have 3.5 to 4.8'),
        Row('tokens', tokens, 'count', 'bytes / bytes a token'),
        Row('on disk', tokens * (2 if vocab_size <= 65_536 else 4), 'bytes', '2 B a token up to 65,536 ids, else 4'),
        Row('time to encode', load.text / (load.rate * load.cores), 'seconds', f'bytes / (rate x {load.cores} cores)'),
      ),
    ),
    Group(
      'learning merges',
      (
        Row('memory', training_memory(load.text), 'bytes', 'distinct pieces: 0.23 GB x (bytes / 75 MB)^0.52 (Heaps)'),
        Row(
          'time', load.text / (REFERENCE_RATE * load.cores / 2), 'seconds', '19 MB/s on two cores, counting dominates'
        ),
        Row('bits of an id', max(vocab_size - 1, 1).bit_length(), 'count', 'log2(V), rounded up'),
      ),
      ('processor time bounds both: it grows with the text, memory about with its square root',),
    ),
    Group(
      'what the vocabulary costs the model',
      (
        Row('token table', table, 'count', f'V x {load.embed_dim} parameters'),
        Row('logits of a token', 6.0 * table, 'flop', '6 V D, forward and backward'),
        Row('context in bytes', load.bytes_per_token * 1024, 'bytes', '1,024 tokens x bytes a token'),
      ),
    ),
  ]
