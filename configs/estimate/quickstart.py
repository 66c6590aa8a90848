"""Back-of-envelope questions with random numbers, for practice; answers take units.

python -m experiments.estimate --mode=quiz
python -m experiments.estimate --mode=quiz --config.seed=7 --config.questions=10 --config.topics=cache,roofline

Cost: none; the score is kept in the workdir.
"""

from ml_collections import ConfigDict


def get_config():
  return ConfigDict(
    {
      'questions': 5,
      'seed': 0,  # of the numbers and of the order: the same questions again
      'tolerance': 0.1,  # share by which an answer may be off
      'topics': (),  # cache,load: of cache, training, memory, roofline, retrieval, load, recommender, judge, tokenizer
    }
  )
