"""The funnel on a year of 2,469 households' groceries (completejourney), the last week held out.

python -m experiments.recsys

Measured: MAP@12 0.1693 (time-decayed repurchase 0.1548, popularity 0.0481), candidates' recall@100 0.345 and
recall@1000 0.585, towers alone 0.558 (popularity 0.340). In an earlier run 0.1673 beside 0.1692 of LightGBM's
LambdaRank on the same candidates. On two CPU cores 10m16s (16 minutes of processor time); with twenty weeks to learn
from, other programs beside it, 16m08s (24) and MAP@12 0.1677.
"""

from configs.recsys._base import base


def get_config():
  config = base()
  config.funnel.weeks = 12  # of twenty the ranker learns no more here (docs/notes/recsys.md)
  return config
