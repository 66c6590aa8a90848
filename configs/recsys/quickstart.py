"""The funnel on a year of 2,469 households' groceries (completejourney), the last week held out.

python -m experiments.recsys
"""

from configs.recsys._base import base


def get_config():
  return base()
