"""Slates: beside a plain greedy loop, and beside the frequencies that propensities say."""

import numpy as np
import pytest

from mlsd_jax.recsys.stages import slate
from mlsd_jax.recsys.stages.slate import Settings

NONE = np.zeros(0, np.int64)


def shop(seed: int):
  rng = np.random.default_rng(seed)
  logits = np.sort(rng.normal(size=25))[::-1]
  return rng.permutation(40)[:25], logits, rng.normal(size=(40, 6)), rng.integers(0, 4, 40)


def mmr(candidates, logits, vectors, number, d):
  """Carbonell & Goldstein's rule as it is written: every similarity, every time."""
  relevance = {
    item: (x - logits.min()) / (logits.max() - logits.min()) for item, x in zip(candidates, logits, strict=True)
  }
  cosine = lambda a, b: float(vectors[a] @ vectors[b] / np.linalg.norm(vectors[a]) / np.linalg.norm(vectors[b]))
  chosen = []
  while len(chosen) < number:
    left = [item for item in candidates if item not in chosen]
    value = lambda item: (1 - d) * relevance[item] - d * max((cosine(item, each) for each in chosen), default=0.0)
    chosen.append(max(left, key=value))
  return chosen


@pytest.mark.parametrize('diversity', [0.0, 0.2, 0.5, 0.9, 1.0])
def test_diversity_is_mmr(diversity):
  for seed in range(5):
    candidates, logits, vectors, categories = shop(seed)
    made = slate.fill(candidates, logits, vectors, categories, 12, Settings(diversity), pinned=NONE, pool=NONE,
                      rng=np.random.default_rng(0))  # fmt: skip
    assert made.items.tolist() == mmr(candidates, logits, vectors, 12, diversity)
    assert (made.propensity == 1).all()
    assert not made.open.any()


def test_pinned_come_first_and_a_category_has_its_places():
  candidates, logits, vectors, categories = shop(0)
  pinned = np.array([item for item in range(40) if item not in candidates][:2])
  most = dict.fromkeys(range(4), 2) | {int(categories[candidates[0]]): 0}
  made = slate.fill(candidates, logits, vectors, categories, 30, Settings(at_most=most), pinned=pinned, pool=NONE,
                    rng=np.random.default_rng(0))  # fmt: skip
  assert made.items[:2].tolist() == pinned.tolist()
  rest = made.items[2:]
  assert candidates[0] not in rest
  counts = np.bincount(categories[rest], minlength=4) + np.bincount(categories[pinned], minlength=4)
  assert all(counts[code] <= max(most[code], int((categories[pinned] == code).sum())) for code in range(4))
  order = {item: place for place, item in enumerate(candidates.tolist())}
  assert [order[item] for item in rest] == sorted(order[item] for item in rest)


def test_propensities_are_how_often_an_item_is_shown():
  candidates, logits, vectors, categories = shop(1)
  pool = np.array([*[item for item in range(40) if item not in candidates][:3], candidates[0]])
  rng, number = np.random.default_rng(0), 20_000
  first = np.empty(number, np.int64)
  told: dict[int, float] = {}
  settings = Settings(explore=0.4)
  for draw in range(number):
    made = slate.fill(candidates, logits, vectors, categories, 1, settings, pinned=NONE, pool=pool, rng=rng)
    first[draw] = made.items[0]
    told[int(made.items[0])] = float(made.propensity[0])
    assert made.greedy[0] == candidates[0]
  assert set(told) == set(pool.tolist())
  assert sum(told.values()) == pytest.approx(1)
  for item, chance in told.items():
    assert (first == item).mean() == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / number))


def test_all_of_a_pool_is_shown_at_most_once():
  candidates, logits, vectors, categories = shop(2)
  pool = np.arange(40)
  made = slate.fill(candidates[:5], logits[:5], vectors, categories, 60, Settings(explore=1.0), pinned=NONE, pool=pool,
                    rng=np.random.default_rng(0))  # fmt: skip
  assert sorted(made.items.tolist()) == list(range(40))
  assert made.open.all()
  np.testing.assert_allclose(made.propensity, 1 / np.arange(40, 0, -1))
