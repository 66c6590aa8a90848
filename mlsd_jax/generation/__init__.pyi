from .beam import Hypotheses, beam_search
from .decoders import BigramDecoder, Decoder, GPTDecoder, make_decoder
from .engine import Engine
from .generate import Sample, generate
from .requests import Event, Request, Stats, TokenLogprob
from .sampling import SamplingConfig
from .stopping import TextStream

__all__ = [
  'BigramDecoder',
  'Decoder',
  'Engine',
  'Event',
  'GPTDecoder',
  'Hypotheses',
  'Request',
  'Sample',
  'SamplingConfig',
  'Stats',
  'TextStream',
  'TokenLogprob',
  'beam_search',
  'generate',
  'make_decoder',
]
