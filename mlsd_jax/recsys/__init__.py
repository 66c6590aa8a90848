"""Recommender in stages: purchases -> what is known at a cut -> candidates -> blend -> ranker -> judging and serving.

from mlsd_jax.recsys import load, recommend
state = load(workdir / 'state')  # of a finished run
answer = recommend(state, np.array([0, 1]))  # items, and the probability of buying each within the week
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
