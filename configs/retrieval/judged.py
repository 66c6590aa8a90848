"""Collections that people judged: scifact, cranfield, a folder of BEIR or SMART, a SQuAD file (after the colon).

python -m experiments.retrieval --config=configs/retrieval/judged.py:scifact
python -m experiments.retrieval --config=configs/retrieval/judged.py:cranfield
python -m experiments.retrieval --config=configs/retrieval/judged.py:xquad.en.json   # answers are judged as well

Measured, nDCG@10: scifact BM25 0.689, dense 0.643, hybrid 0.730; cranfield 0.381, 0.399, 0.426. SciFact takes
nine minutes on two CPU cores beside other work.
"""

from configs.retrieval._base import base


def get_config(source: str = 'scifact'):
  config = base()
  config.data.source = source
  config.chunk.max_tokens = 0  # abstracts: one chunk each, cut at the encoder's length, as published figures have it
  return config
