"""What a tokenizer makes of a text: compression, fertility, which tokens it uses how often."""

import dataclasses
import pathlib
import time
from collections.abc import Mapping, Sequence

import numpy as np

from mlsd_jax import figures
from mlsd_jax.tokenizers import base


@dataclasses.dataclass(frozen=True)
class Usage:
  """How a tokenizer cut a text.

  Attributes:
    num_bytes, num_tokens, num_words: of the text (UTF-8 bytes; words between white space).
    counts: int64 [vocab_size], how often each token occurred.
    seconds: what encoding took.
  """

  name: str
  num_bytes: int
  num_tokens: int
  num_words: int
  counts: np.ndarray
  seconds: float

  @property
  def bytes_per_token(self) -> float:
    """Compression: more is better, at a given vocabulary."""
    return self.num_bytes / max(self.num_tokens, 1)

  @property
  def fertility(self) -> float:
    """Tokens a word (Rust et al. 2021, arXiv:2012.15613)."""
    return self.num_tokens / max(self.num_words, 1)

  @property
  def unused_share(self) -> float:
    """Share of the vocabulary that never occurred."""
    return float((self.counts == 0).mean())

  @property
  def megabytes_per_second(self) -> float:
    return self.num_bytes / 1e6 / max(self.seconds, 1e-9)


def usage(tokenizer: base.Tokenizer, texts: Sequence[str]) -> Usage:
  """Encodes `texts` and counts."""
  began = time.perf_counter()
  encoded = [tokenizer.encode(text) for text in texts]
  seconds = time.perf_counter() - began
  counts = np.zeros(tokenizer.vocab_size, np.int64)
  for ids in encoded:
    counts += np.bincount(ids, minlength=tokenizer.vocab_size)
  num_bytes = sum(len(base.well_formed(text).encode()) for text in texts)
  num_words = sum(len(text.split()) for text in texts)
  return Usage(tokenizer.name, num_bytes, int(counts.sum()), num_words, counts, seconds)


def compression_curve(saved: Sequence[int], num_bytes: int) -> np.ndarray:
  """[merges + 1] bytes a token after each merge, from how many tokens each of them saved on a text of `num_bytes`."""
  return num_bytes / (num_bytes - np.concatenate([[0], np.cumsum(saved)]))


def plot_compression(
  curve: np.ndarray, others: Mapping[str, tuple[int, float]], path: pathlib.Path, *, title: str
) -> None:
  """Bytes a token by vocabulary size, and other tokenizers as points (size, bytes a token); a PNG."""
  with figures.figure(path, size=(8, 4.5), dpi=150) as (_, ((axes,),)):
    sizes = 256 + np.arange(len(curve))
    axes.plot(sizes, curve, color=figures.OURS, linewidth=2)
    ours = f'learned here {curve[-1]:.2f}'
    axes.annotate(ours, (sizes[-1], curve[-1]), (-6, 6), textcoords='offset points', ha='right')
    for i, (name, (size, value)) in enumerate(others.items()):
      axes.plot(size, value, 'o', color=figures.GREY)
      above_or_below = (6, 8 if i % 2 else -16)
      axes.annotate(f'{name} {value:.2f}', (size, value), above_or_below, textcoords='offset points', ha='right')
    axes.set(title=title, xlabel='vocabulary size', ylabel='bytes a token', xscale='log')
    axes.set_ylim(0, 1.15 * max([curve[-1], *(value for _, value in others.values())]))
    figures.plain_ticks(axes.xaxis)


def plot_zipf(usages: Sequence[Usage], path: pathlib.Path, *, title: str) -> None:
  """Frequency of each token by rank, on logarithmic axes; a PNG."""
  with figures.figure(path, size=(8, 4.5), dpi=150) as (_, ((axes,),)):
    for used, color in zip(usages, figures.PALETTE, strict=False):
      counts = np.sort(used.counts[used.counts > 0])[::-1]
      axes.plot(np.arange(1, len(counts) + 1), counts, color=color, linewidth=1.6, label=used.name)
    axes.set(title=title, xlabel='rank of the token', ylabel='occurrences', xscale='log', yscale='log')
    axes.legend()
