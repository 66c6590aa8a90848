"""Reasons of many items at once are those of each alone, and companions those of the whole matrix of co-visitation."""

import numpy as np

from mlsd_jax.recsys import reasons, serving
from mlsd_jax.recsys.stages.candidates import read_covisitation


def test_reasons_of_many_are_those_of_each(state):
  users = np.arange(len(state.users) - 20, len(state.users) + 1)
  found = serving.recommend(state, users).candidates
  rows = np.random.default_rng(0).choice(len(found.item), 60, replace=False)
  together = reasons.explain_each(
    state, found.user[rows], found.item[rows], found.rank[rows], found.sources, found.score[rows]
  )
  for row, reason in zip(rows, together, strict=True):
    alone = (int(found.user[row]), int(found.item[row]), found.rank[row], found.sources, found.score[row])
    assert reasons.explain(state, *alone) == reason
  assert len({reason.why.split()[0] for reason in together}) > 2


def test_the_companion_is_the_recent_item_with_the_greatest_weight(state):
  snapshot = state.snapshot
  matrix = read_covisitation(snapshot).toarray()
  users = np.repeat(np.arange(len(state.users) + 1), 8)
  items = np.random.default_rng(0).integers(0, snapshot.num_items, len(users))
  companions = reasons._find_companions(snapshot, users, items)
  assert (companions >= 0).any()
  for user, item, companion in zip(users, items, companions, strict=True):
    recent = snapshot['recent'][user][snapshot['recent'][user] >= 0]
    weights = matrix[recent, item]
    assert companion == (recent[weights.argmax()] if weights.any() else -1)
