"""How much of a text an encoder's vocabulary has pieces for that may mean something to it."""

import itertools

from mlsd_jax.encoder.length_batches import EncoderTokenizer
from mlsd_jax.tokenizers.bpe import BPETokenizer
from mlsd_jax.tokenizers.sentencepiece import SentencePieceTokenizer
from mlsd_jax.tokenizers.wordpiece import PREFIX, UNKNOWN, WordPieceTokenizer

_FEW_UNKNOWN = 0.05  # share of a text's pieces


def known_share(tokenizer: EncoderTokenizer, text: str) -> float:
  """Share of a text's characters, spaces left out, in pieces that stand for more than letters of a script or bytes."""
  if isinstance(tokenizer, SentencePieceTokenizer):
    return tokenizer.known_share(text)
  letters = sum(not letter.isspace() for letter in text)
  if not letters:
    return 1.0
  known = _in_bytes(tokenizer, text) if isinstance(tokenizer, BPETokenizer) else _in_pieces(tokenizer, text)
  return min(known / letters, 1.0)


def _in_pieces(tokenizer: WordPieceTokenizer, text: str) -> int:
  """A vocabulary without a script has its words as unknown, or takes them apart into single letters.

  Single signs of Han and the like are words, though, where the vocabulary has nearly all of a text's.
  """
  pieces = [tokenizer.vocabulary[id_] for id_ in tokenizer.first_ids(text, None)]
  has_all = pieces.count(UNKNOWN) <= _FEW_UNKNOWN * len(pieces)
  known = 0
  for piece, following in itertools.pairwise([*pieces, '']):
    bare = piece.removeprefix(PREFIX)
    is_word = bare == piece and not following.startswith(PREFIX)
    if piece != UNKNOWN and (len(bare) > 1 or (is_word and (has_all or piece.isascii()))):
      known += len(bare)
  return known


def _in_bytes(tokenizer: BPETokenizer, text: str) -> int:
  """Bytes spell everything: what counts are tokens of several letters, and those of ASCII."""
  known = 0
  for id_ in tokenizer.first_ids(text, None):
    piece = (tokenizer.tokens[id_] or b'').decode('utf-8', 'replace').strip()
    if '\ufffd' not in piece and (len(piece) > 1 or piece.isascii()):
      known += len(piece)
  return known
