"""Tables about tokenizers, as text for a person."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mlsd_jax.tokenizers import analysis, flaws
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.exchange import show
from mlsd_jax.tokenizers.patterns import PATTERNS, pattern_for
from mlsd_jax.tokenizers.pieces import count_pieces


def first_merges(tokenizer: BPETokenizer, saved: Sequence[int], number: int = 20) -> str:
  """The first merges, and how many tokens each took off the text it was learned from."""
  rows = zip(tokenizer.merge_ids, tokenizer.merges, saved, strict=True)
  text = lambda i: repr((tokenizer.tokens[i] or b'').decode('utf-8', 'backslashreplace'))
  lines = [
    f'  {i}  {text(a):>8} + {text(b):<8} -> {text(i):<12} {n:>10,} times' for i, (a, b), n in list(rows)[:number]
  ]
  return '\n'.join(['first merges:', *lines])


def usage_table(usages: Sequence[analysis.Usage]) -> str:
  """A line for each tokenizer: compression, fertility, unused tokens, speed."""
  lines = [f'{"tokenizer":<14} {"ids":>8} {"bytes a token":>14} {"tokens a word":>14} {"unused":>8} {"MB/s":>6}']
  for used in usages:
    lines.append(
      f'{used.name:<14} {len(used.counts):>8,} {used.bytes_per_token:>14.3f} {used.fertility:>14.3f} '
      f'{used.unused_share:>8.1%} {used.megabytes_per_second:>6.1f}'
    )
  return '\n'.join(lines)


def pattern_table(texts: Sequence[str], vocab_size: int, workers: int = 0) -> str:
  """What the split pattern does: a vocabulary of one size learned from `texts` with each published one."""
  lines = [
    f'{vocab_size:,} tokens learned from this text, by how it is cut first',
    f'{"pattern":<10} {"distinct pieces":>16} {"bytes a token":>14} {"tokens a word":>14} {"unused":>8}  longest',
  ]
  for name in PATTERNS:
    counts = count_pieces(texts, pattern_for(name), workers=workers).pieces
    learned = BPETokenizer.from_pieces(counts, vocab_size, pattern=name)
    used = analysis.usage(learned, texts)
    longest = sorted((learned.tokens[i] or b'' for i in learned.merge_ids), key=len)[-2:]
    lines.append(
      f'{name:<10} {len(counts):>16,} {used.bytes_per_token:>14.3f} {used.fertility:>14.3f} '
      f'{used.unused_share:>8.1%}  {"  ".join(_short(token) for token in longest)}'
    )
  return '\n'.join(lines)


def dropout_table(tokenizer: BPETokenizer, texts: Sequence[str], num_bytes: int = 50_000, seed: int = 0) -> str:
  """What BPE-dropout does to a part of `texts`: how much longer it gets, and in how many ways its pieces are cut."""
  text = '\n'.join(texts)[:num_bytes]
  pieces = tokenizer.pattern.split(text)
  lines = [
    f'BPE-dropout on {len(text.encode()):,} bytes',
    f'{"dropout":>7} {"bytes a token":>14} {"cuts of a piece":>16}',
  ]
  for dropout in (0.0, 0.1, 0.2, 0.5, 1.0):
    rng = np.random.default_rng(seed)
    cuts: dict[str, set[bytes]] = {}
    num_tokens = 0
    for piece in pieces:
      ids = tokenizer.sample(piece, rng, dropout=dropout)
      num_tokens += len(ids)
      cuts.setdefault(piece, set()).add(ids.tobytes())
    ways = float(np.mean([len(found) for found in cuts.values()]))
    lines.append(f'{dropout:>7.1f} {len(text.encode()) / max(num_tokens, 1):>14.3f} {ways:>16.2f}')
  return '\n'.join(lines)


def flaws_of(tokenizer: BPETokenizer, counts: np.ndarray, distances: np.ndarray | None = None, shown: int = 10) -> str:
  """Lines for a person.

  Args:
    counts: [vocab_size] occurrences of each token in a text.
    distances: [vocab_size] of flaws.under_trained, of a model that was trained on such text.
  """
  learned = np.array(tokenizer.merge_ids, np.int64)
  texts = {int(i): f"'{show(tokenizer.tokens[i])}'" for i in learned}
  is_step = np.isin(learned, np.array(tokenizer.merges, np.int64))
  never, rare = counts[learned] == 0, (counts[learned] > 0) & (counts[learned] < 10)
  missing = np.where(is_step, -np.inf, flaws.shortfall(counts[learned]))
  glitches = {int(learned[i]): f'{np.exp(missing[i]):,.0f}x' for i in np.argsort(-missing, kind='stable')[:shown]}
  lines = [
    f'{tokenizer.name}: of {len(learned):,} merged tokens',
    _line('never occur, steps to longer tokens', learned[never & is_step], texts, shown),
    _line('never occur, others', learned[never & ~is_step], texts, shown),
    _line('occur fewer than 10 times', learned[rare], texts, shown),
    _line('are unreachable', flaws.unreachable(tokenizer), texts, shown),
    _line('hold part of a character', flaws.partial(tokenizer), texts, shown),
    '  glitch candidates, no steps (so much rarer than tokens of neighbouring ids):',
    _examples(glitches, texts),
  ]
  if distances is not None:
    nearest = learned[np.argsort(distances[learned], kind='stable')][:shown]
    lines += [
      '  least trained, by the embeddings (distance from those never trained; occurrences):',
      _examples({int(i): f'{distances[i]:.2f}, {counts[i]:,}' for i in nearest}, texts),
    ]
  return '\n'.join(lines)


def _line(what: str, ids: Collection[int], texts: Mapping[int, str], shown: int) -> str:
  some = ' '.join(texts[int(i)] for i in list(ids)[:shown] if int(i) in texts)
  return f'  {len(ids):>7,} {what}' + (f': {some}' if some else '')


def _examples(values: Mapping[int, str], texts: Mapping[int, str]) -> str:
  return '    ' + '  '.join(f'{texts[i]} ({value})' for i, value in values.items())


def _short(token: bytes, most: int = 24) -> str:
  text = show(token)
  return f"'{text}'" if len(text) <= most else f"'{text[:most]}'... of {len(token)} bytes"
