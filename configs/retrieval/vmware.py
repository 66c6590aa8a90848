"""3,625 pages of VMware's documentation, asked for by their titles.

python -m experiments.retrieval --config=configs/retrieval/vmware.py
"""

from configs.retrieval._base import base


def get_config():
  config = base()
  config.corpus = 'vmware_docs'
  config.encoder.dtype = 'bfloat16'
  config.evaluate.max_queries = 0
  return config
