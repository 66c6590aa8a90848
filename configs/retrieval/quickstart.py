"""The Python documentation of the running interpreter, searched with all-MiniLM-L6-v2.

python -m experiments.retrieval
"""

from configs.retrieval._base import base


def get_config():
  return base()
