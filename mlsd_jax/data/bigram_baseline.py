"""What a bigram model gets on the same tokens: the loss that a language model must be clearly below."""

import dataclasses

import numpy as np

from mlsd_jax.data.tokens import TokenDataset

_CHUNK = 2**22


@dataclasses.dataclass(frozen=True)
class _Pairs:
  """Distinct adjacent pairs, as context * vocab_size + target in rising order, and how often each occurs."""

  keys: np.ndarray
  counts: np.ndarray


def bigram_val_loss(
  train: TokenDataset, val: TokenDataset, vocab_size: int | None = None, max_train_tokens: int = 2**27
) -> float:
  """Cross-entropy, in nats a token, of the validation split under a bigram model of the training split.

  The model is interpolated Kneser-Ney (Kneser and Ney 1995; Chen and Goodman 1999, section 2.7), the strongest
  common smoothing: a seen pair gives up a discount D = n1 / (n1 + 2 n2), the mass so freed goes to a unigram model that
  counts after how many different tokens a token was seen (with one added to each count, so that nothing is impossible).
  An unseen context leaves all to that unigram model. n1 and n2 are the numbers of pairs seen once and twice.

  Args:
    train: counted, up to `max_train_tokens`.
    val: all tokens but the first are scored, each given the one before.
    vocab_size: ids are below it; by default that of `train`. Memory grows with the distinct pairs, not with its square.
    max_train_tokens: bound on the tokens counted.
  """
  vocab_size = train.vocab_size if vocab_size is None else vocab_size
  pairs = _count(train, vocab_size, min(len(train), max_train_tokens))
  once, twice = np.sum(pairs.counts == 1), np.sum(pairs.counts == 2)
  discount = once / (once + 2 * twice) if once else 0.5

  context, target = np.divmod(pairs.keys, vocab_size)
  context_count = np.bincount(context, pairs.counts, minlength=vocab_size)
  followers = np.bincount(context, minlength=vocab_size)  # different tokens after each context
  unigram = (np.bincount(target, minlength=vocab_size) + 1) / (len(target) + vocab_size)
  # What a context hands on to the unigram model; everything where it was never seen.
  backoff = np.where(context_count > 0, discount * followers / np.maximum(context_count, 1), 1.0)

  nats = 0.0
  for start in range(0, len(val) - 1, _CHUNK):
    tokens = val.read(start, min(start + _CHUNK + 1, len(val))).astype(np.int64)
    given, scored = tokens[:-1], tokens[1:]
    keys = given * vocab_size + scored
    at = np.minimum(np.searchsorted(pairs.keys, keys), len(pairs.keys) - 1)
    count = np.where(pairs.keys[at] == keys, pairs.counts[at], 0)
    seen = np.maximum(count - discount, 0) / np.maximum(context_count[given], 1)
    nats -= np.log(seen + backoff[given] * unigram[scored]).sum()
  return float(nats / (len(val) - 1))


def _count(dataset: TokenDataset, vocab_size: int, num_tokens: int) -> _Pairs:
  total = _Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64))
  for start in range(0, num_tokens - 1, _CHUNK):
    tokens = dataset.read(start, min(start + _CHUNK + 1, num_tokens)).astype(np.int64)
    keys, counts = np.unique(tokens[:-1] * vocab_size + tokens[1:], return_counts=True)
    merged, inverse = np.unique(np.concatenate([total.keys, keys]), return_inverse=True)
    total = _Pairs(merged, np.bincount(inverse, np.concatenate([total.counts, counts])).astype(np.int64))
  return total
