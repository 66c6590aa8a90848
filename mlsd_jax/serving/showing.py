"""What is shown to users: the funnel's ranking of all that ask at once, then each one's slate by its rules."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlsd_jax.recsys import reasons, serving
from mlsd_jax.recsys.live.live_state import View
from mlsd_jax.recsys.serving import State
from mlsd_jax.recsys.stages import slate
from mlsd_jax.recsys.stages.slate import Slate
from mlsd_jax.serving.rules import EVERY, Rules

CANDIDATES = 100  # of a user, from which a slate is chosen where the rules ask for more than the best
_KNOWN = 20  # purchases after which an item is not explored any more


@dataclasses.dataclass(frozen=True)
class Wanted:
  """One user's request."""

  user: str
  number: int
  rules: Rules = dataclasses.field(default_factory=Rules)


@dataclasses.dataclass(frozen=True)
class Made:
  """What is shown to one user.

  Attributes:
    items: what is told of each, by place.
    slate: their rows, and how they came there.
    candidates: rows that the slate was chosen from, best first.
    pool: rows that exploration drew from.
  """

  items: list[dict[str, Any]]
  slate: Slate
  candidates: np.ndarray
  pool: np.ndarray


def show(view: View, requests: Sequence[Wanted], newcomers: np.ndarray, rng: np.random.Generator) -> list[Made]:
  """Answers in order; requests with the same conditions go through the funnel together.

  Args:
    newcomers: rows of the items that came after the build.
  """
  made: dict[int, Made] = {}
  alike: dict[Any, list[int]] = {}
  for place, request in enumerate(requests):
    rules = request.rules
    alike.setdefault((rules.exclude_bought, rules.in_stock, rules.blocked, rules.rerank), []).append(place)
  rows = [view.row(request.user) for request in requests]
  state = view.state  # after the rows: what they are of is in it
  for (exclude_bought, in_stock, blocked, rerank), places in alike.items():
    allowed = _allowed(view, in_stock, blocked)
    users = np.array([rows[place] for place in places])
    number = max(requests[place].number for place in places)
    # All that the ranker sees anyway: the candidates are those of a request without rules.
    depth = max(number, min(CANDIDATES, state.funnel.keep)) if rerank else number
    answer = serving.recommend(state, users, depth, exclude_bought=exclude_bought, in_stock=allowed, least=number)
    slates = [
      _fill(view, state, requests[place], int(users[at]), answer, at, allowed, newcomers, rng)
      for at, place in enumerate(places)
    ]
    told = _tell(state, answer, users, [each for each, _ in slates])
    for at, place in enumerate(places):
      candidates = answer.items[at][answer.items[at] >= 0]
      made[place] = Made(told[at], slates[at][0], candidates, slates[at][1])
  return [made[place] for place in range(len(requests))]


def _allowed(view: View, in_stock: Sequence[str] | None, blocked: Sequence[str]) -> np.ndarray | None:
  if in_stock is None and not blocked:
    return None
  allowed = np.full(len(view.state.items), in_stock is None)
  for ids, value in ((in_stock or (), True), (blocked, False)):
    allowed[[view.items[id_] for id_ in ids if id_ in view.items]] = value
  return allowed


def _fill(
  view: View,
  state: State,
  request: Wanted,
  user: int,
  answer: serving.Answer,
  at: int,
  allowed: np.ndarray | None,
  newcomers: np.ndarray,
  rng: np.random.Generator,
) -> tuple[Slate, np.ndarray]:
  """A slate, and the pool of its exploration."""
  rules, nothing = request.rules, np.zeros(0, np.int64)
  known = answer.items[at] >= 0
  candidates = answer.items[at][known].astype(np.int64)
  if not rules.rerank:
    best = candidates[: request.number]
    return Slate(best, np.ones(len(best)), best, np.zeros(len(best), bool)), nothing
  logits = np.log(answer.probability[at][known]) - np.log1p(-answer.probability[at][known])
  passes = lambda items: items if allowed is None else items[allowed[items]]
  rows = [view.items[id_] for id_ in dict.fromkeys(rules.pinned) if id_ in view.items]
  pinned, pool = passes(np.array(rows, np.int64)), nothing
  if rules.explore:
    untried = state.snapshot.column('item', 'n')[newcomers] < _KNOWN
    pool = passes(newcomers[untried & ~np.isin(newcomers, pinned)])
    if rules.exclude_bought:
      pool = pool[~state.snapshot.bought(np.full(len(pool), user), pool)]
  unpinned = ~np.isin(candidates, pinned)
  codes = view.category_of
  most = dict.fromkeys(range(len(view.categories) + 1), rules.at_most[EVERY]) if EVERY in rules.at_most else {}
  named = {name: number for name, number in rules.at_most.items() if name in view.categories}
  most |= {view.categories[name]: number for name, number in named.items()}
  vectors = state.funnel.retriever.items[:, :-1]  # without how much an item sells
  filled = slate.fill(
    candidates[unpinned],
    logits[unpinned],
    vectors,
    codes,
    request.number,
    slate.Settings(rules.diversity, rules.explore, most),
    pinned=pinned,
    pool=pool,
    rng=rng,
  )
  return filled, pool


def _tell(
  state: State, answer: serving.Answer, users: np.ndarray, slates: Sequence[Slate]
) -> list[list[dict[str, Any]]]:
  """What is told of each user's items; reasons of all of them are looked up at once."""
  found, number = answer.candidates, len(state.items)
  owner = np.repeat(np.arange(len(users)), [len(each.items) for each in slates])
  items = np.concatenate([each.items for each in slates]).astype(np.int64)
  # Candidates of a user ascend by item: one number for both finds all of them in one search.
  keys, key = found.row * np.int64(number) + found.item, owner * np.int64(number) + items
  row = np.minimum(np.searchsorted(keys, key), max(len(keys) - 1, 0))
  there = keys[row] == key if len(keys) else np.zeros(len(key), bool)
  rank, score = found.rank[row] * there[:, None], found.score[row] * there[:, None]
  why = reasons.explain_each(state, users[owner], items, rank, found.sources, score)
  ranked = {
    (at, int(item)): float(chance)
    for at in range(len(users))
    for item, chance in zip(answer.items[at], answer.probability[at], strict=True)
  }
  told: list[list[dict[str, Any]]] = [[] for _ in users]
  for at, item, reason in zip(owner.tolist(), items.tolist(), why, strict=True):
    chance = ranked[at, item] if (at, item) in ranked else serving.estimate(state, int(users[at]), item)
    shown = describe(state, item) | {'probability': chance, 'sources': reason.sources, 'why': reason.why}
    told[at].append(shown)
  return told


def describe(state: State, row: int) -> dict[str, Any]:
  id_, name, category = state.items.row(row)
  return {'id': str(id_), 'name': name, 'category': category}
