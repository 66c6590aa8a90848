"""How sure one may be that a corpus answers a query: logistic regression on a few signals (Platt 1999; Cox 1958).

Told apart are queries whose page is there and the same queries with that page hidden, so that the nearest other pages
are what is found; everyday questions, which few corpora answer, are a smaller part of the second kind. The regression
keeps near the weights of PRIOR, more so the fewer queries there are (a Gaussian prior): these were fitted in the same
way to 279 questions of COVID-QA (Moeller et al. 2020), and serve by themselves where nothing was evaluated.
"""

import dataclasses

import numpy as np

EVERYDAY = (
  'how do I bake a chocolate cake', 'what is the capital of France', 'who won the world cup in 1998',
  'how long should I boil an egg', 'which plants grow well in the shade', 'what causes a toothache at night',
  'when was the French revolution', 'how do I change a flat bicycle tyre', 'why is the sky blue',
  'how much does a flight to Tokyo cost', 'what should I feed a kitten', 'how to remove red wine stains from a carpet',
  'who painted the Mona Lisa', 'what is a good exercise for back pain', 'how tall is Mount Everest',
  'when do strawberries ripen', 'how do I knit a scarf', 'what is the plot of Hamlet', 'how to tune a guitar',
  'which river flows through Vienna', 'how do I get a baby to sleep', 'what is the offside rule in football',
  'how to make sourdough bread', 'what are the symptoms of measles', 'who was the first person on the moon',
  'how do bees make honey', 'what colour goes with dark green walls', 'how do I train for a marathon',
  'when is the best time to prune roses', 'how do I apply for a visa to Brazil', 'what is the population of Nigeria',
  'how to remove a splinter', 'how do I cook rice without it sticking', 'what is the meaning of the name Sophie',
  'how do I iron a silk shirt', 'why do cats purr', 'what instruments are in a string quartet',
  'how to whiten teeth at home', 'which wine goes with salmon', 'how do I get rid of ants in the kitchen',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Signals:
  """What tells of a query whether its answer was found.

  Attributes:
    score: of the best sentence (sentence_scores.py).
    coverage: share of the query's weight that this sentence has,
    passage: its passage and title together,
    untitled: its passage of what its title does not say.
    margin: what its score is ahead of the best sentence of another page.
    bm25_gap: what the first page of BM25 is ahead of the second, as a share of its score.
    nearest: similarity of the nearest chunk.
  """

  score: float
  coverage: float
  passage: float
  untitled: float
  margin: float
  bm25_gap: float
  nearest: float

  def array(self) -> np.ndarray:
    """float64 [S]."""
    return np.array(dataclasses.astuple(self), np.float64)


NOTHING = Signals(*[0.0] * len(dataclasses.fields(Signals)))  # of a query for which nothing was found


@dataclasses.dataclass(frozen=True)
class Calibration:
  """P(answered | signals) = 1 / (1 + exp(-(weights . signals + offset)))."""

  weights: tuple[float, ...]
  offset: float

  def __call__(self, signals: Signals) -> float:
    return float(self.of(signals.array()[None])[0])

  def of(self, signals: np.ndarray) -> np.ndarray:
    """[N] of signals [N, S]."""
    return 1 / (1 + np.exp(-np.clip(signals @ np.array(self.weights) + self.offset, -500, 500)))


PRIOR = Calibration((2.55, 0.76, -1.85, 1.16, 1.24, 0.81, 3.0), -3.87)
KNOWN_SHARE = 0.65  # of what is asked: a corpus is asked mostly what it answers
_HIDDEN, _EVERYDAY = 0.3, 0.05
_PRECISION = 0.05  # of the Gaussian prior around PRIOR's weights; a query adds at most 0.25 to it


def calibrate(
  known: np.ndarray, hidden: np.ndarray, everyday: np.ndarray, *, prior: Calibration = PRIOR, steps: int = 100
) -> Calibration:
  """Fits the regression by Newton's method.

  Args:
    known: [N, S] signals of queries with their page there.
    hidden: [M, S] of queries with their page hidden.
    everyday: [K, S] of questions from elsewhere.
  """
  groups = [
    (rows, y, share) for rows, y, share in ((known, 1, KNOWN_SHARE), (hidden, 0, _HIDDEN), (everyday, 0, _EVERYDAY))
  ]
  x = np.concatenate([rows for rows, _, _ in groups]).astype(np.float64)
  x = np.concatenate([x, np.ones((len(x), 1))], 1)
  y = np.concatenate([np.full(len(rows), float(label)) for rows, label, _ in groups])
  weights = np.concatenate([np.full(len(rows), share / max(len(rows), 1)) for rows, _, share in groups])
  weights *= len(known) / weights.sum() if len(known) else 0.0
  centre = np.array([*prior.weights, prior.offset])
  ridge = _PRECISION * np.eye(len(centre))
  beta = centre.copy()
  for _ in range(steps):
    p = 1 / (1 + np.exp(-np.clip(x @ beta, -500, 500)))
    gradient = x.T @ (weights * (p - y)) + ridge @ (beta - centre)
    hessian = (x * (weights * p * (1 - p))[:, None]).T @ x + ridge
    step = np.linalg.solve(hessian, gradient)
    beta -= step / max(1.0, np.abs(step).max() / 2)  # far from the optimum Newton overshoots
    if np.abs(step).max() < 1e-9:
      break
  return Calibration(tuple(float(each) for each in beta[:-1]), float(beta[-1]))
