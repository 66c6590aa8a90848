"""The funnel on a year of 2,469 households' groceries (completejourney), the last week held out.

python -m experiments.recsys

Measured: MAP@12 0.1678 (time-decayed repurchase 0.1548, popularity 0.0481), candidates' recall@100 0.344 and
recall@1000 0.585, towers alone 0.558 (popularity 0.340). In an earlier run 0.1673 beside 0.1692 of LightGBM's
LambdaRank on the same candidates. On two CPU cores 10m19s, 17m55s on a slower machine (with 400 best sellers).
"""

from configs.recsys._base import base


def get_config():
  return base()
