"""A ladder of the speedrun's models: how its loss falls with size and text, and what the next size will reach.

    python -m experiments.gpt2 --config=configs/gpt2/scaling.py --mode=scaling

Depths 1 to 4 at 1, 2 and 4 x 10^12 operations each, the law through these twelve losses, then depth 5 at 8 x 10^12:
36 x 10^12 operations in all. Not run whole: no quiet machine was at hand. By the speedrun's operations and time it is
some four minutes on two idle CPU cores, and thirteen compilations.
"""

from configs.gpt2 import speedrun


def get_config():
  config = speedrun.get_config()
  config.train.update(batch_size=16, eval_every=0, checkpoint_every=0, log_every=0)
  return config
