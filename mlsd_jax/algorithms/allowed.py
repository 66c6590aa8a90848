"""Every call that the statements of the design problems allow, edge values first: 0, negative, equal, empty, huge.

The generators beside the problems make what is usual, at any size; this makes what is forgotten: small structures whose
arguments are drawn from few values, so that equal ones meet.
"""

import copy
import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mlsd_jax.algorithms.operations import Call, perform
from mlsd_jax.algorithms.problem import Problem

type Draw = Callable[[random.Random], Any]
type Needs = Callable[[Any, str, Sequence[Any]], Any]

HUGE = 10**18


def pick(*values: Any) -> Draw:
  return lambda rng: copy.deepcopy(rng.choice(values))


def either(*draws: Draw) -> Draw:
  return lambda rng: rng.choice(draws)(rng)


def whole(low: int, high: int) -> Draw:
  return lambda rng: rng.randint(low, high)


def listed(draw: Draw, most: int, least: int = 0) -> Draw:
  return lambda rng: [draw(rng) for _ in range(rng.randint(least, most))]


def row(*draws: Draw) -> Draw:
  return lambda rng: [draw(rng) for draw in draws]


def word(letters: str, least: int = 1) -> Draw:
  return lambda rng: ''.join(rng.choices(letters, k=rng.randint(least, 4)))


def _distinct(draw: Draw, *places: int) -> Draw:
  """Rows of which no two agree in all those places."""

  def rows(rng: random.Random) -> list[Any]:
    made = {tuple(each[place] for place in places): each for each in listed(draw, 6)(rng)}
    return list(made.values())

  return rows


def _columns(draw: Draw, count: int) -> Draw:
  """Rows as that many lists."""
  return lambda rng: [list(column) for column in zip(*draw(rng), strict=True)] or [[] for _ in range(count)]


ANY = either(pick(0, 1, -1, 2, 3, HUGE, -HUGE, 2**63), whole(-4, 4))
COUNT, POSITIVE = pick(0, 1, 1, 2, 3, HUGE), pick(1, 1, 2, 3, HUGE)
FEW, SOME = whole(0, 4), whole(1, 4)
TEXT = pick('', 'a', 'b', 'ab', 'aa', 'b c', '#', '.', '/', '\n', '\x00', 'é', '名', '"', '1', '-1')
NAME = pick('a', 'b', 'c', 'ab', 'aé')
PATH = pick('/', '/a', '/b', '/a/a', '/a/b', '/a/b/c', '/b/a', '/a b', '/é/a')
CELL = pick('A1', 'A2', 'B1', 'B2', 'C3')
TIME = either(whole(0, 9), pick(HUGE))


def _binary(value: Draw, depth: int = 4) -> Draw:
  def draw(rng: random.Random, left: int = depth) -> Any:
    return None if not left or rng.random() < 0.3 else [value(rng), draw(rng, left - 1), draw(rng, left - 1)]

  return draw


def _nary(rng: random.Random, left: int = 4) -> Any:
  if left == 4 and rng.random() < 0.1:
    return None
  return [TEXT(rng), [_nary(rng, left - 1) for _ in range(rng.randint(0, left - 1))]]


def _spec(rng: random.Random, left: int = 3) -> Any:
  kind = rng.randrange(6 if left else 2)
  inner = lambda: _spec(rng, left - 1)
  if kind < 2:
    return ANY(rng) if kind else {'range': [rng.randint(-3, 3), rng.randint(-3, 3)]}
  if kind == 2:
    return {'repeat': rng.choice(([inner(), rng.randint(-1, 3)], [[], 10**9], [[[], {'range': [1, 0]}], 10**9]))}
  return {'zip': [inner(), inner()]} if kind == 3 else [inner() for _ in range(rng.randint(0, 3))]


def _parents(rng: random.Random) -> list[int]:
  free, found = [0, 0], [-1]
  for node in range(1, rng.randint(1, 10)):
    found.append(free.pop(rng.randrange(len(free))))
    free += [node, node]
  return found


def _apart(values: Sequence[int]) -> bool:
  return all(a != b for a, b in itertools.pairwise(values))


def _hills(rng: random.Random) -> list[int]:
  values = [ANY(rng)]
  for _ in range(rng.randrange(8)):
    values += [value for value in [ANY(rng)] if value != values[-1]]
  return values


# The database's.
_TYPES = {'n': 'int', 'x': 'float', 't': 'text', 'b': 'bool'}
_VALUES: Mapping[str, Draw] = {
  'n': ANY, 'x': pick(0, 0.0, -0.5, 1, 1e300, HUGE), 't': TEXT, 'b': pick(True, False)
}  # fmt: skip
_WRONG = pick(None, 'a', 1.5, True, [], 3)
_TABLE, _COLUMN = pick('t', 't', 't', 't', 'u', ''), pick('n', 'x', 't', 'b', 'n', 'none')


def _row(rng: random.Random) -> dict[str, Any]:
  made = {column: draw(rng) for column, draw in _VALUES.items()}
  return made if rng.random() < 0.8 else made | {_COLUMN(rng): _WRONG(rng)}


def _changes(rng: random.Random) -> dict[str, Any]:
  if rng.random() < 0.2:
    return {_COLUMN(rng): _WRONG(rng)} if rng.random() < 0.8 else {}
  return {column: _VALUES[column](rng) for column in rng.sample(sorted(_VALUES), rng.randint(1, 2))}


def _where(rng: random.Random, left: int = 2) -> Any:
  kind = rng.random()
  if left == 2 and kind < 0.1:
    return None
  if left and kind < 0.4:
    return [rng.choice(('and', 'or')), *(_where(rng, left - 1) for _ in range(rng.randint(1, 3)))]
  if left and kind < 0.5:
    return ['not', _where(rng, left - 1)]
  if kind < 0.53:
    return [_COLUMN(rng), '=', _WRONG(rng)]
  column = rng.choice(sorted(_VALUES))
  if kind < 0.65:
    return [column, 'in', listed(_VALUES[column], 3)(rng)]
  return [column, rng.choice(('=', '!=', '<', '<=', '>', '>=')), _VALUES[column](rng)]


_ORDER = either(pick(None), listed(pick('n', '-n', 't', '-x', 'b', 'none'), 3))


def _on_time(time: int) -> Needs:
  """Times at that place of the arguments never go back."""

  def needs(oracle: Any, method: str, arguments: Sequence[Any]) -> bool:
    if arguments[time] < getattr(oracle, '_latest', -HUGE):
      return False
    oracle._latest = arguments[time]
    return True

  return needs


def _always(oracle: Any, method: str, arguments: Sequence[Any]) -> bool:
  return True


def _heap(oracle: Any, method: str, arguments: Sequence[Any]) -> bool:
  if method in ('pop', 'peek'):
    return True
  held = oracle.priorities.get(arguments[0])
  return (held is None) == (method == 'push') and (method != 'decrease_key' or arguments[1] <= held)


def _queue(oracle: Any, method: str, arguments: Sequence[Any]) -> bool:
  return {'enqueue': len(oracle.items) < oracle.capacity, 'dequeue': bool(oracle.items)}.get(method, True)


def _peaks(oracle: Any, method: str, arguments: Sequence[Any]) -> bool:
  if method != 'set':
    return True
  place, value = arguments
  return place < len(oracle.values) and _apart([*oracle.values[:place], value, *oracle.values[place + 1 :]])


def _rentals(oracle: Any, method: str, arguments: Sequence[Any]) -> bool:
  return method in ('search', 'report') or (
    tuple(arguments) in oracle.copies and (tuple(arguments) in oracle.out) == (method == 'drop')
  )


def _stack(oracle: Any, method: str, arguments: Sequence[Any]) -> Any:
  return method == 'push' or oracle.values


# problem: the constructor's arguments, each method's, and what a call needs besides.
ALLOWED: Mapping[str, tuple[Draw, Mapping[str, tuple[Draw, ...]], Needs]] = {
  'all_one': (
    row(), {'inc': (NAME,), 'dec': (NAME,), 'get_max_key': (), 'get_min_key': ()},
    lambda oracle, method, given: method != 'dec' or given[0] in oracle.counts,
  ),
  'auction_system': (
    row(),
    {
      'add_bid': (FEW, FEW, POSITIVE), 'update_bid': (FEW, FEW, POSITIVE), 'remove_bid': (FEW, FEW),
      'get_highest_bidder': (FEW,),
    },
    lambda oracle, method, given: (
      method not in ('update_bid', 'remove_bid') or (given[0], given[1]) in oracle.bids
    ),
  ),
  'autocomplete': (_columns(listed(row(word('ab'), FEW), 6), 2), {'input': (pick('a', 'b', '#'),)}, _always),
  'binary_tree_codec': (
    row(), {'round_trip': (_binary(ANY),), 'size': (_binary(whole(-99_999, 999_999)),)}, _always,
  ),
  'bounded_queue': (
    row(FEW), {'enqueue': (ANY,), 'dequeue': (), 'try_enqueue': (ANY,), 'try_dequeue': (), 'size': ()}, _queue,
  ),
  'calendar_three': (row(), {'book': (pick(0, 1, 2, 5, 10**9), pick(0, 1, 2, 5, 10**9))}, _always),
  'common_ancestor': (
    row(_parents), {'by_search': (whole(0, 9), FEW), 'by_lifting': (FEW, whole(0, 9))},
    lambda oracle, method, given: max(given) < len(oracle.parents),
  ),
  'database': (
    row(),
    {
      'create_table': (_TABLE, pick(_TYPES, _TYPES, _TYPES, {}, {'n': 'date'}, {'and': 'int'})),
      'create_index': (_TABLE, _COLUMN), 'insert': (_TABLE, _row),
      'select': (_TABLE, listed(_COLUMN, 3), _where, _ORDER, pick(None, 0, 1, 2, HUGE)),
      'update': (_TABLE, _changes, _where), 'delete': (_TABLE, _where), 'begin': (), 'commit': (), 'rollback': (),
    },
    _always,
  ),
  'database_one': (
    row(),
    {
      'create_table': (_TABLE, pick(_TYPES, _TYPES, _TYPES, {}, {'n': 'date'}, {'and': 'int'})),
      'insert': (_TABLE, _row), 'select': (_TABLE, listed(_COLUMN, 3), _where, _ORDER, pick(None, 0, 1, 2, HUGE)),
    },
    _always,
  ),
  'exam_room': (
    row(pick(1, 2, 3, 4, 7)), {'seat': (), 'leave': (whole(0, 6),)},
    lambda oracle, method, given: len(oracle.taken) < oracle.n if method == 'seat' else given[0] in oracle.taken,
  ),
  'excel_sum': (
    row(pick(3), pick(3)),
    {
      'set': (CELL, ANY), 'get': (CELL,),
      'sum': (CELL, listed(either(CELL, pick('A1:A1', 'A1:B2', 'B1:C3', 'A1:C3')), 3)),
    },
    _always,
  ),
  'file_system': (
    row(),
    {
      'mkdir': (PATH,), 'add_content': (PATH, TEXT), 'read': (PATH,), 'ls': (PATH,), 'rm': (PATH,), 'mv': (PATH, PATH),
    },
    _always,
  ),
  'food_ratings': (
    _columns(_distinct(row(NAME, pick('x', 'y'), ANY), 0), 3),
    {'change_rating': (NAME, ANY), 'highest_rated': (pick('x', 'y'),)},
    lambda oracle, method, given: (
      given[0] in (oracle.rows if method == 'change_rating' else [cuisine for cuisine, _ in oracle.rows.values()])
    ),
  ),
  'hash_ring': (
    row(whole(-1, 5)),
    {'add_node': (TEXT, whole(-1, 3)), 'remove_node': (TEXT,), 'get': (TEXT,), 'replicas': (TEXT, COUNT)}, _always,
  ),
  'heap': (
    row(SOME), {'push': (ANY, ANY), 'pop': (), 'peek': (), 'decrease_key': (ANY, ANY), 'remove': (ANY,)}, _heap,
  ),
  'hit_counter': (row(FEW), {'hit': (TIME,), 'get_hits': (TIME,)}, _on_time(0)),
  'key_value_store': (
    row(pick('')),
    {
      'set': (TEXT, TEXT), 'get': (TEXT,), 'delete': (TEXT,), 'count': (TEXT,), 'begin': (), 'commit': (),
      'rollback': (), 'reopen': (),
    },
    _always,
  ),
  'lfu_cache': (row(whole(-1, 4)), {'get': (ANY,), 'put': (ANY, ANY)}, _always),
  'lru_cache': (row(whole(-1, 4)), {'get': (ANY,), 'put': (ANY, ANY)}, _always),
  'lsm_tree': (row(), {'put': (ANY, ANY), 'delete': (ANY,), 'get': (ANY,), 'scan': (ANY, ANY, COUNT)}, _always),
  'max_stack': (row(), {'push': (ANY,), 'pop': (), 'top': (), 'peek_max': (), 'pop_max': ()}, _stack),
  'median_finder': (
    row(), {'add_num': (ANY,), 'find_median': ()}, lambda oracle, method, given: method == 'add_num' or oracle.numbers,
  ),
  'min_stack': (row(), {'push': (ANY,), 'pop': (), 'top': (), 'get_min': ()}, _stack),
  'movie_rental': (
    row(pick(5), _distinct(row(FEW, FEW, FEW), 0, 1)),
    {'search': (ANY,), 'rent': (FEW, FEW), 'drop': (FEW, FEW), 'report': ()}, _rentals,
  ),
  'nary_tree_codec': (row(), {'round_trip': (_nary,)}, _always),
  'number_containers': (
    row(), {'change': (COUNT, ANY), 'find': (ANY,)}, _always,
  ),
  'peak_finder': (row(_hills), {'peak': (), 'local_minimum': (), 'set': (whole(0, 7), ANY)}, _peaks),
  'phone_book': (row(), {'add': (TEXT, COUNT), 'find': (TEXT,), 'remove': (TEXT,), 'names': ()}, _always),
  'randomized_collection': (
    row(), {'insert': (ANY,), 'remove': (ANY,), 'get_random': ()},
    lambda oracle, method, given: method != 'get_random' or oracle.values,
  ),
  'range_module': (
    row(), dict.fromkeys(('add_range', 'remove_range', 'query_range'), (whole(-6, 6), whole(-6, 6))), _always,
  ),
  'resumable_iterator': (
    row(_spec), {'next': (), 'save': (), 'restore': (FEW,)},
    lambda oracle, method, given: method != 'restore' or given[0] < len(oracle.saved),
  ),
  'skip_grams': (row(), {'add': (TEXT,), 'grams': (SOME, FEW), 'last': (SOME, FEW)}, _always),
  'skiplist': (row(), {'add': (ANY,), 'search': (ANY,), 'erase': (ANY,)}, _always),
  'sliding_log': (row(whole(-1, 3), FEW), {'allow': (ANY, TIME)}, _on_time(1)),
  'sliding_window_median': (row(SOME), {'add': (ANY,)}, _always),
  'snapshot_array': (
    row(pick(4)), {'set': (whole(0, 3), ANY), 'snap': (), 'get': (whole(0, 3), FEW)},
    lambda oracle, method, given: method != 'get' or given[1] < len(oracle.kept),
  ),
  'stock_price': (
    row(), {'update': (POSITIVE, POSITIVE), 'current': (), 'maximum': (), 'minimum': ()},
    lambda oracle, method, given: method == 'update' or oracle.prices,
  ),
  'stream_checker': (row(listed(word('ab'), 4)), {'query': (pick('a', 'b', 'é'),)}, _always),
  'task_manager': (
    row(_distinct(row(ANY, FEW, ANY), 1)), {'add': (ANY, ANY, ANY), 'edit': (ANY, ANY), 'rmv': (ANY,), 'exec_top': ()},
    lambda oracle, method, given: (
      given[1] not in oracle.tasks if method == 'add' else method == 'exec_top' or given[0] in oracle.tasks
    ),
  ),
  'text_editor': (
    row(),
    {
      'add_text': (TEXT,), 'delete_text': (COUNT,), 'cursor_left': (COUNT,), 'cursor_right': (COUNT,), 'undo': (),
      'redo': (),
    },
    _always,
  ),
  'time_map': (
    row(), {'set': (TEXT, TEXT, ANY, FEW), 'get': (TEXT, ANY)},
    lambda oracle, method, given: (
      method == 'get' or all(since < given[2] for since, *_ in oracle.records.get(given[0], []))
    ),
  ),
  'token_bucket': (
    row(FEW, SOME), {'allow': (ANY, either(whole(0, 6), pick(HUGE)), whole(0, 30))}, _on_time(2),
  ),
  'twitter': (
    row(), {'post_tweet': (FEW, ANY), 'get_news_feed': (FEW,), 'follow': (FEW, FEW), 'unfollow': (FEW, FEW)}, _always,
  ),
  'vertical_order': (row(listed(either(pick(None), ANY), 12)), {'columns': ()}, _always),
  'word_dictionary': (row(), {'add_word': (word('ab'),), 'search': (word('ab.'),)}, _always),
}  # fmt: skip


def keeps_rules(problem: Problem, calls: Sequence[Call]) -> bool:
  """Whether each call comes at a moment at which the statement allows it."""
  needs = ALLOWED[problem.name][2] if problem.name in ALLOWED else _always
  oracle = problem.oracle(*copy.deepcopy(calls[0][1]))
  for name, arguments in calls[1:]:
    if not needs(oracle, name, arguments):
      return False
    perform(oracle, name, copy.deepcopy(arguments))
  return True


def edge_operations(problem: Problem, rng: random.Random, count: int = 30) -> list[Call]:
  """Up to so many calls that the statement allows, on one small structure."""
  constructor, methods, needs = ALLOWED[problem.name]
  calls: list[Call] = [(problem.solution.__name__, constructor(rng))]
  oracle = problem.oracle(*copy.deepcopy(calls[0][1]))
  names = rng.choices(list(methods), k=count)
  for name in names:
    arguments = [draw(rng) for draw in methods[name]]
    if needs(oracle, name, arguments):
      calls.append((name, arguments))
      perform(oracle, name, copy.deepcopy(arguments))
  return calls
