"""The funnel on a year of 2,469 households' groceries (completejourney), the last week held out.

python -m experiments.recsys

Measured: MAP@12 0.1566 (time-decayed repurchase 0.1548, popularity 0.0481), candidates' recall@100 0.339 and
recall@1000 0.571; 3m27.119s and 1m3.219s of processor time (user, system), 18m43.439s beside other programs on
two cores.
"""

from configs.recsys._base import base


def get_config():
  return base()
