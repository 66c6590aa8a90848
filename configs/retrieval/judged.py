"""Collections that people judged: scifact, cranfield, or a folder in BEIR's layout after the colon.

python -m experiments.retrieval --config=configs/retrieval/judged.py:scifact
python -m experiments.retrieval --config=configs/retrieval/judged.py:cranfield
"""

from configs.retrieval._base import base


def get_config(corpus: str = 'scifact'):
  config = base()
  config.corpus = corpus
  config.chunk.max_tokens = 0  # abstracts: one chunk each, cut at the encoder's length, as published figures have it
  config.evaluate.max_queries = 0
  return config
