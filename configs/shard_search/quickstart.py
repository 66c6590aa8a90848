"""Search over shards that several machines hold: searchers own them, a root asks all and merges.

python -m experiments.shard_search --config.groups=2 --config.group=0 --config.port=8101
python -m experiments.shard_search --config.groups=2 --config.group=1 --config.port=8102
python -m experiments.shard_search --mode=root --config.searchers=http://127.0.0.1:8101,http://127.0.0.1:8102

Shards are made by `python -m experiments.retrieval --mode=shards`. Figures: benchmarks/shard_search.py.
"""

from ml_collections import ConfigDict


def get_config():
  return ConfigDict(
    {
      'host': '127.0.0.1',  # 0.0.0.0 lets other machines in
      'port': 8100,  # 0 takes a free one
      'shards': 'runs/retrieval/quickstart/shards',  # a folder, or s3://BUCKET/PREFIX
      'groups': 1,  # of shards, which share them in turn
      'group': 0,  # that this searcher owns
      'searchers': '',  # --mode=root: of each group its replicas with | between, the groups with commas
      'encoder': {'name': 'sentence-transformers/all-MiniLM-L6-v2', 'dtype': 'float32', 'max_length': 256},
      'root': {'deadline_seconds': 1.0, 'hedge_seconds': 0.25, 'rest_seconds': 2.0, 'most_waiting': 256},
    }
  )
