import numpy as np
import pytest

from mlsd_jax.tokenizers import BPETokenizer, ByteTokenizer, analysis

TEXTS = ['the cat sat on the mat', 'café the']


def test_usage():
  used = analysis.usage(ByteTokenizer(), TEXTS)
  assert (used.num_bytes, used.num_tokens, used.num_words) == (31, 31, 8)
  assert used.bytes_per_token == 1.0
  assert used.fertility == 31 / 8
  assert used.counts[ord('t')] == 6
  assert used.unused_share == np.mean(used.counts == 0)


def test_the_curve_ends_at_what_the_tokenizer_does():
  saved = []
  counts = {'the': 2, ' cat': 1, ' sat': 1, ' the': 2}
  tokenizer = BPETokenizer.from_pieces(counts, 262, pattern='gpt2', on_merge=lambda _, tokens: saved.append(tokens))
  num_bytes = sum(len(piece) * count for piece, count in counts.items())
  curve = analysis.compression_curve(saved, num_bytes)
  assert curve[0] == 1.0
  assert (np.diff(curve) > 0).all()
  tokens = sum(len(tokenizer.encode(piece)) * count for piece, count in counts.items())
  assert curve[-1] == pytest.approx(num_bytes / tokens)


def test_plots_are_pictures(tmp_path):
  used = analysis.usage(ByteTokenizer(), TEXTS)
  analysis.plot_zipf([used], tmp_path / 'zipf.png', title='t')
  analysis.plot_compression(np.array([1.0, 1.5]), {'gpt2': (50257, 4.0)}, tmp_path / 'c.png', title='t')
  for name in ('zipf.png', 'c.png'):
    assert (tmp_path / name).read_bytes().startswith(b'\x89PNG')
