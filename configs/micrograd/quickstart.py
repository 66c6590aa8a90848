"""micrograd: an MLP of scalars on moons, circles and a spiral.

python -m experiments.micrograd

Measured: 98.90% of fresh points right on moons, 99.45% on circles, 99.65% on the spiral; 41 s of processor time, most
of it drawing, on two CPU cores beside other work. A step of the moons took 160.4 ms interpreted, 0.283 ms compiled.
"""

from ml_collections import ConfigDict


def get_config():
  # moons is micrograd's own demo: 100 points, two hidden layers of 16, 100 steps of full-batch gradient descent.
  demo = {
    'points': 100,  # to train on
    'noise': 0.1,  # standard deviation
    'hidden': (16, 16),  # neurons of each hidden layer
    'steps': 100,  # of gradient descent on all points
    'learning_rate': 1.0,  # falls linearly to a tenth
    'momentum': 0.0,  # share of the last step that is added to this one
    'l2': 1e-4,  # weight of the squared parameters in the loss
  }
  return ConfigDict(
    {
      'datasets': ('moons', 'circles', 'spiral'),  # trained one after the other
      'engine': 'compiled',  # or interpreted: node by node, the spiral then takes half an hour
      'seed': 1,  # of points and initial weights
      'test_points': 2000,  # fresh points of the same kind that `accuracy` is of
      'interpreted_steps': 3,  # timed for speedup_compiled
      'log_every': 10,  # steps between two lines of metrics.jsonl
      'gif_frames': 40,
      'draw_with': 'auto',  # the neuron's graph: dot (graphviz), own, or auto: dot where it is installed
      'moons': demo,
      'circles': demo | {'steps': 300},
      'spiral': demo
      | {'points': 200, 'noise': 0.02, 'hidden': (24, 24), 'steps': 4000, 'learning_rate': 0.1, 'momentum': 0.9},
    }
  )
