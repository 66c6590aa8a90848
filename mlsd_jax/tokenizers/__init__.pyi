from .base import StreamDecoder, Tokenizer
from .bpe import BPETokenizer
from .byte_level import ByteTokenizer
from .character import CharacterTokenizer
from .openai import ENCODINGS, TiktokenTokenizer
from .saved import KINDS, load
from .sentencepiece import SentencePieceTokenizer
from .unigram import UnigramTokenizer
from .wordpiece import WordPieceTokenizer

__all__ = [
  'ENCODINGS',
  'KINDS',
  'BPETokenizer',
  'ByteTokenizer',
  'CharacterTokenizer',
  'SentencePieceTokenizer',
  'StreamDecoder',
  'TiktokenTokenizer',
  'Tokenizer',
  'UnigramTokenizer',
  'WordPieceTokenizer',
  'load',
]
