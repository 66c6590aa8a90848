"""An evaluation against an earlier one, and when it fails."""

import json

import numpy as np
import pytest

from mlsd_jax.errors import UserError
from mlsd_jax.resampling import sign_flip_p
from mlsd_jax.retrieval.regression import compare, read_by_query, table


def values(means, number=60):
  rng = np.random.default_rng(0)
  return {name: {f'q{i}': float(mean + rng.normal(0, 0.1)) for i in range(number)} for name, mean in means.items()}


def test_only_losses_beyond_chance_count():
  before = values({'ndcg@10 bm25': 0.6, 'answer@1': 0.6, 'abstains': 0.1, 'answers unknown': 0.3, 'old': 0.1})
  now = values({'ndcg@10 bm25': 0.4, 'answer@1': 0.605, 'abstains': 0.4, 'answers unknown': 0.1, 'new': 0.5})
  changes = {each.measure: each for each in compare(before, now)}
  assert {name: each.is_worse for name, each in changes.items()} == {
    'ndcg@10 bm25': True,
    'answer@1': False,
    'abstains': True,
    'answers unknown': False,
  }
  old, new = (np.array(list(each['abstains'].values())) for each in (before, now))
  assert changes['abstains'].p == sign_flip_p(new - old)
  assert table(list(changes.values())).count('worse') == 2


def test_queries_that_both_asked_are_compared():
  before, now = values({'answer@1': 0.5}, 10), values({'answer@1': 0.5}, 6)
  (change,) = compare(before, now)
  assert change.number == 6
  assert change.before == pytest.approx(np.mean([before['answer@1'][id_] for id_ in now['answer@1']]))
  with pytest.raises(UserError, match='share no query'):
    compare({'answer@1': {'other': 1.0}}, now)


@pytest.mark.parametrize(
  ('content', 'why'),
  [
    (None, 'is not there'),
    ([1], 'holds no JSON object'),
    ({'a': 1}, 'not hold measures'),
    ({'a': {'q': 'x'}}, 'not hold'),
  ],
)
def test_a_baseline_that_is_none_is_named(tmp_path, content, why):
  path = tmp_path / 'queries.json'
  if content is not None:
    path.write_text(json.dumps(content))
  with pytest.raises(UserError, match=why):
    read_by_query(path)
