"""Every structure against its oracle: random operations, hypothesis, growth of its cost."""

import dataclasses
import pathlib
import random
import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd_jax.algorithms import allowed, growth, stress
from mlsd_jax.algorithms.design import bounded_queue, hash_ring, lsm_tree, randomized_collection, resumable_iterator
from mlsd_jax.algorithms.operations import read_operations, write_operations
from mlsd_jax.algorithms.problem import answers, check, find, problems
from mlsd_jax.errors import UserError

WAYS = {name: way for problem in problems().values() for name, way in problem.ways().items()}


@pytest.mark.parametrize('name', WAYS)
def test_random_operations(name):
  assert stress.prove(WAYS[name], 2400) is None


@pytest.mark.parametrize('name', WAYS)
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 12), count=st.integers(1, 60))
def test_small_cases(name, seed, size, count):
  """Sizes and seeds of hypothesis's choice, shrunk by it when one fails."""
  problem = WAYS[name]
  assert check(problem, problem.solution, problem.operations(random.Random(seed), count, size)) is None


@pytest.mark.parametrize('name', WAYS)
def test_edge_values(name):
  """All that a statement allows: 0, negative, equal, empty, huge; every method is called."""
  problem, called = WAYS[name], set()
  for seed in range(150):
    calls = allowed.edge_operations(problem, random.Random(seed))
    called |= {method for method, _ in calls[1:]}
    assert allowed.keeps_rules(problem, calls)
    assert check(problem, problem.solution, calls) is None
    assert read_operations(write_operations(calls)) == [tuple(call) for call in calls]
  assert called == set(problem.complexity)


def test_proving_ends_where_a_generator_gives_fewer_calls_than_asked():
  problem = find('lru_cache')
  meagre = dataclasses.replace(problem, operations=lambda rng, count, size: problem.operations(rng, 3, size))
  assert stress.prove(meagre, 10_000) is None


def test_proving_finds_what_only_edge_values_show():
  problem = find('sliding_log')

  class Careless(problem.solution):
    def allow(self, user, time):
      return time == 10**18 or super().allow(user, time)

  Careless.__module__ = problem.solution.__module__

  mismatch = stress.prove(dataclasses.replace(problem, solution=Careless), 3000)
  assert mismatch is not None
  assert allowed.keeps_rules(problem, mismatch.calls)
  assert len(mismatch.calls) <= 6


@pytest.mark.parametrize('name', WAYS)
def test_cost_grows_as_stated(name):
  """In bytecode instructions, which are the same in every run."""
  problem = WAYS[name]
  measured = growth.steps(problem, problem.sizes[:2])
  assert {each.operation for each in measured} <= set(problem.complexity)
  off = [f'{each.operation}: n**{each.exponent:.2f}, not O({each.stated})' for each in measured if not each.holds]
  assert not off


def test_every_problem_says_what_it_is():
  assert len(problems()) >= 38
  for name, problem in problems().items():
    assert problem.title, name
    assert len(problem.statement) > 80, name
    calls = problem.operations(random.Random(1), 3000, 20)
    assert {method for method, _ in calls[1:]} == set(problem.complexity), name
    assert calls[0][0] == problem.solution.__name__, name
    assert read_operations(write_operations(calls)) == [tuple(call) for call in calls]


def test_a_wrong_structure_is_caught_and_its_case_made_small():
  problem = find('lru_cache')

  class Forgetful(problem.solution):
    def get(self, key):
      return self.values.get(key, -1)  # reading is no use

  calls = problem.operations(random.Random(3), 500, 6)
  mismatch = check(problem, Forgetful, calls)
  smallest = stress.smallest_mismatch(problem, Forgetful, mismatch)
  assert len(mismatch.calls) > 15
  assert len(smallest.calls) <= 10  # six puts, a get, a put that drops, a get that tells
  assert check(problem, Forgetful, smallest.calls) is not None
  assert smallest.actual != smallest.expected


def test_methods_may_be_spelled_as_in_java():
  class Bag(randomized_collection.RandomizedCollection):
    getRandom = randomized_collection.RandomizedCollection.get_random

  calls = read_operations('["Bag","insert","insert","getRandom","remove"] [[],[1],[1],[],[1]]')
  assert answers(Bag, calls) == [True, False, 1, True]
  assert answers(randomized_collection.RandomizedCollection, calls) == [True, False, 1, True]


@pytest.mark.parametrize('text', ['', '["A"]', '["A","b"] [[]]', '["A"] [[]] [1]', '{', '1 2'])
def test_operations_that_are_none(text):
  with pytest.raises(ValueError, match='operations are two JSON lists'):
    read_operations(text)


def test_no_such_problem():
  with pytest.raises(UserError, match="no design problem 'lru'; there are all_one, auction_system"):
    find('lru')


def test_random_elements_are_equally_likely():
  bag = randomized_collection.RandomizedCollection(seed=1)
  for value in (1, 1, 1, 2):
    bag.insert(value)
  ones = sum(bag.get_random() == 1 for _ in range(4000))
  assert abs(ones - 3000) < 150  # 5.5 standard deviations


def test_a_queue_of_many_threads_loses_and_doubles_nothing():
  queue = bounded_queue.BoundedBlockingQueue(3)
  taken: list[int] = []

  def produce(start):
    for item in range(start, start + 500):
      queue.enqueue(item)

  def consume():
    for _ in range(500):
      taken.append(queue.dequeue())

  threads = [threading.Thread(target=produce, args=(1000 * i,)) for i in range(4)]
  threads += [threading.Thread(target=consume) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert sorted(taken) == sorted(1000 * i + j for i in range(4) for j in range(500))
  assert queue.size() == 0


def test_a_node_moves_only_its_own_keys():
  ring = hash_ring.HashRing(50)
  for number in range(10):
    ring.add_node(f'node{number}', 1)
  keys = [f'key{number}' for number in range(2000)]
  before = {key: ring.get(key) for key in keys}
  ring.add_node('new', 1)
  moved = [key for key in keys if ring.get(key) != before[key]]
  assert all(ring.get(key) == 'new' for key in moved)
  assert 60 < len(moved) < 400  # 182 expected
  ring.remove_node('new')
  assert {key: ring.get(key) for key in keys} == before


def test_bloom_filter():
  members = range(0, 30_000, 3)
  bloom = lsm_tree.BloomFilter(members, len(members))
  assert all(key in bloom for key in members)
  false = sum(key in bloom for key in range(1, 30_000, 3))
  assert false / 10_000 < 0.012  # 0.8 % by theory


def test_lsm_levels_grow_by_the_ratio_and_forget_what_was_deleted():
  tree = lsm_tree.LSMTree()
  for key in range(5_000):
    tree.put(key, key)
  sizes = [len(run.keys) if run else 0 for run in tree.levels]
  assert all(size <= lsm_tree.TABLE_SIZE * 4 ** (level + 1) for level, size in enumerate(sizes))
  assert sum(sizes) + len(tree.table) == 5_000
  for key in range(5_000):
    tree.delete(key)
  assert tree.scan(0, 29_999, 10) == []


def test_a_state_of_the_iterator_is_small_and_works_elsewhere():
  spec = [{'repeat': [[1, {'range': [0, 10**9]}], 10**6]}, 5]
  first = resumable_iterator.ResumableIterator(spec)
  for _ in range(1000):
    first.next()
  state = first.get_state()
  assert len(str(state)) < 80
  second = resumable_iterator.ResumableIterator(spec)
  second.set_state(state)
  assert [second.next() for _ in range(5)] == [first.next() for _ in range(5)] == [999, 1000, 1001, 1002, 1003]


def test_every_problem_has_a_follow_up():
  text = pathlib.Path(__file__).parents[2].joinpath('docs/explanation/follow_ups.md').read_text()
  assert set(re.findall(r'\*\*(\w+)\*\*', text)) == set(problems())
