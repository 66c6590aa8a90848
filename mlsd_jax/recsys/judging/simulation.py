"""Studies on generated purchases, where the truth is known: recovery, and off-policy estimates."""

from collections.abc import Iterator

import numpy as np

from mlsd_jax import resampling
from mlsd_jax.recsys.judging import measures, off_policy
from mlsd_jax.recsys.known import snapshot
from mlsd_jax.recsys.purchases import weeks
from mlsd_jax.recsys.purchases.generator import Generated, SyntheticConfig, Truth, generate
from mlsd_jax.recsys.stages import candidates

_LOGGED = 40_000
_ACTIONS = 50


def run_study(config: SyntheticConfig) -> Iterator[str]:
  """Lines of a report: rankings beside the oracle's, then what estimators say of a policy beside its true value."""
  made = generate(config)
  data = made.dataset
  counts = f'{data.num_users:,} users, {data.num_items:,} items, {config.tastes} tastes'
  yield f'{data.events.height:,} purchases of {counts}'
  yield ''
  yield f'{"":<24}{"map@12":>26}{"recall@100":>26}'
  for name, values in measure_recovery(made).items():
    cells = [str(resampling.bootstrap(values[metric])) for metric in ('map@12', 'recall@100')]
    yield f'{name:<24}' + ''.join(f'{cell:>26}' for cell in cells)
  yield ''
  truth, estimates = simulate_bandit(made.truth)
  yield f'{"value of a policy":<24}{truth:10.5f}  the truth'
  for name, value in estimates.items():
    z = abs(value.mean - truth) / max(value.error, 1e-12)
    yield f'{name:<24}{value.mean:10.5f}  +- {value.error:.5f}, {z:.1f} standard errors off'


def measure_recovery(made: Generated, users: int = 2000) -> dict[str, dict[str, np.ndarray]]:
  """Metrics a user of each source and of the oracle, who ranks by the probabilities the purchases were drawn from."""
  data, truth = made.dataset, made.truth
  cut = weeks.list_cuts(data, 1)[0]
  targets = weeks.find_targets(data, cut)
  chosen = np.random.default_rng(0).permutation(targets.users)[:users]
  chosen = np.sort(chosen)
  known = snapshot.take(data, cut)
  rankings = {name: source(known, chosen, 100, None)[0] for name, source in candidates.SOURCES.items()}
  probability = truth.probabilities(chosen, truth.config.weeks - 1)
  rankings['oracle'] = np.argsort(-probability, 1, kind='stable')[:, :100].astype(np.int32)
  targets = targets.only(chosen)
  return {name: measures.evaluate(chosen, ranking, targets, data.num_items) for name, ranking in rankings.items()}


def simulate_bandit(truth: Truth, seed: int = 0) -> tuple[float, dict[str, off_policy.Value]]:
  """A log of single recommendations by a policy of popularity, and estimates of one that knows the users' tastes.

  Returns:
    (true value of the second policy, estimates by name)
  """
  rng = np.random.default_rng(seed)
  week = truth.config.weeks - 1
  shares = truth.shares(week)
  actions = np.argsort(-shares, kind='stable')[:_ACTIONS]
  users = rng.integers(0, truth.config.num_users, _LOGGED)
  chance = np.minimum(4 * truth.probabilities(users, week)[:, actions], 0.9)
  popular = _softmax(np.log(shares[actions] + 1e-3))
  logging = 0.7 * popular + 0.3 / _ACTIONS
  target = _softmax(8 * chance + 0.5 * np.log(shares[actions] + 1e-3))
  action = rng.choice(_ACTIONS, _LOGGED, p=logging)
  rows = np.arange(_LOGGED)
  reward = (rng.random(_LOGGED) < chance[rows, action]).astype(float)
  # A reward model that knows the item but not the user: wrong on purpose.
  mean = np.bincount(action, reward, minlength=_ACTIONS) / np.maximum(np.bincount(action, minlength=_ACTIONS), 1)
  predicted = np.broadcast_to(mean, chance.shape)
  seen = logging[action]
  direct = (target * predicted).sum(1)
  estimates = {
    'mean of the log': off_policy.Value(float(reward.mean()), float(reward.std() / np.sqrt(_LOGGED))),
    'direct (wrong model)': off_policy.Value(float(direct.mean()), float(direct.std() / np.sqrt(_LOGGED))),
    'IPS': off_policy.ips(action, reward, seen, target),
    'SNIPS': off_policy.snips(action, reward, seen, target),
    'doubly robust': off_policy.doubly_robust(action, reward, seen, target, predicted),
  }
  return float((target * chance).sum(1).mean()), estimates


def _softmax(x: np.ndarray) -> np.ndarray:
  weights = np.exp(x - x.max(-1, keepdims=True))
  return weights / weights.sum(-1, keepdims=True)
