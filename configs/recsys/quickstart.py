"""The funnel on a year of 2,469 households' groceries (completejourney), the last week held out.

python -m experiments.recsys

Measured: MAP@12 0.1638 (time-decayed repurchase 0.1548, popularity 0.0481), candidates' recall@100 0.341 and
recall@1000 0.580, towers alone 0.544 (popularity 0.340); LightGBM's LambdaRank on the same
candidates 0.1669. 6m18s on two CPU cores.
"""

from configs.recsys._base import base


def get_config():
  return base()
