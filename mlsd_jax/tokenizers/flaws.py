"""What is wrong with a vocabulary: tokens that never come up, and those a model will not have learned.

Of the tokens that never come up, most are steps: ' th' is used up by ' the'. A token is *unreachable* if encoding its
own text gives others, *partial* if it holds part of a character. A *glitch candidate* is a token that the tokenizer
learned early, so that its own training text was full of it, but that a model's text hardly holds: the model sees its
embedding too seldom to learn it (' SolidGoldMagikarp' of GPT-2).
"""

from collections.abc import Collection

import numpy as np

from mlsd_jax.tokenizers.bpe import BPETokenizer

_WINDOW = 501  # ids


def unreachable(tokenizer: BPETokenizer) -> list[int]:
  """Ids, special tokens apart, that the token's own text is not encoded to; tokens of part of a character apart."""
  special = set(tokenizer.special_tokens.values())
  ids = (i for i, token in enumerate(tokenizer.tokens) if token and i not in special and _is_text(token))
  return [i for i in ids if tokenizer.encode((tokenizer.tokens[i] or b'').decode()).tolist() != [i]]


def partial(tokenizer: BPETokenizer) -> list[int]:
  """Ids of tokens of more than a byte that are not whole characters."""
  return [i for i, token in enumerate(tokenizer.tokens) if token and len(token) > 1 and not _is_text(token)]


def shortfall(counts: np.ndarray) -> np.ndarray:
  """[vocab_size] float64: by what factor each token is rarer than those of neighbouring ids, as a natural logarithm.

  Ids are in the order in which byte-pair encoding found the tokens, the frequent ones first, so neighbours should occur
  about as often.

  Args:
    counts: [vocab_size] occurrences in a text.
  """
  logs = np.log1p(np.asarray(counts, np.float64))
  window = min(_WINDOW, len(logs) // 2 * 2 - 1)
  if window < 3:
    return np.zeros_like(logs)
  padded = np.pad(logs, window // 2, mode='reflect')
  expected = np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)
  return expected - logs


def under_trained(embeddings: np.ndarray, unused: Collection[int]) -> np.ndarray:
  """[vocab_size] float64 from 0 (as the tokens that no training text held) to 2: small means hardly learned.

  The cosine distance between a token's output embedding and the mean one of unused tokens, without the first principal
  component, which all share (Land and Bartolo 2024, arXiv:2405.05417, section 3.2).

  Args:
    embeddings: [vocab_size, width], those that the logits are made with.
    unused: ids that the model was never trained on; at least one.
  """
  rows = np.asarray(embeddings, np.float64)
  first = np.linalg.svd(rows - rows.mean(0), full_matrices=False)[2][0]
  rows = rows - np.outer(rows @ first, first)
  mean = rows[sorted(unused)].mean(0)
  norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(mean)
  return 1.0 - rows @ mean / np.maximum(norms, 1e-30)


def _is_text(token: bytes) -> bool:
  try:
    token.decode()
  except UnicodeDecodeError:
    return False
  return True
