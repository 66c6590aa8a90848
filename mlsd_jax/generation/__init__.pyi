from .beam import Hypotheses, beam_search
from .decode import Decoder, Session
from .generate import GPTDecoder, Sample, generate
from .sampling import SamplingConfig
from .stopping import TextStream

__all__ = [
  'Decoder',
  'GPTDecoder',
  'Hypotheses',
  'Sample',
  'SamplingConfig',
  'Session',
  'TextStream',
  'beam_search',
  'generate',
]
