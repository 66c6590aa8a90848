r"""A cross-encoder of 700 steps, on as many pairs of each index as there are.

python -m experiments.encoder --config=configs/encoder/cross_encoder.py --config.train.dtype=bfloat16
python -m experiments.retrieval --mode=evaluate --config.search.rerank=20 \
    --config.cross_encoder=runs/encoder/cross_encoder/model

54 minutes of half a CPU core. With the indexes of SciFact and VMware beside that of the Python documentation in
data.source it took Cranfield from 0.427 to 0.434 (nDCG@10) and SciFact from 0.730 to 0.720: hence search.rerank=0 in
configs/retrieval.
"""

from configs.encoder._base import base


def get_config():
  config = base()
  config.data.held_back = True
  return config
