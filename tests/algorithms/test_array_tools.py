"""The toolkit's arrays, texts, numbers and points against brute force, NumPy and SciPy."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import ConvexHull, QhullError

from mlsd_jax.algorithms.contests import dp_optimizations, ntt, number_theory, strings
from mlsd_jax.algorithms.contests.aho_corasick import AhoCorasick
from mlsd_jax.algorithms.contests.convex_hull import convex_hull, doubled_area, squared_diameter
from mlsd_jax.algorithms.contests.fast_input import Words
from mlsd_jax.algorithms.contests.fenwick import Fenwick
from mlsd_jax.algorithms.contests.mo import distinct_in_ranges
from mlsd_jax.algorithms.contests.segment_tree import LazySegmentTree, SegmentTree
from mlsd_jax.algorithms.contests.sparse_table import SparseTable
from mlsd_jax.algorithms.sorted_list import SortedList

NUMBERS = st.lists(st.integers(-50, 50), min_size=1, max_size=20)
TEXT = st.text('ab', max_size=20)


def ranges(count):
  return st.tuples(st.integers(0, count - 1), st.integers(1, count)).filter(lambda pair: pair[0] < pair[1])


def test_words_of_an_input():
  words = Words(b'3\n1 2 3\nhello 4 5\n6 7')
  assert words.integers(words.integer()) == [1, 2, 3]
  assert words.text() == 'hello'
  assert words.grid(2, 2) == [[4, 5], [6, 7]]


@settings(max_examples=30)
@given(NUMBERS, st.data())
def test_segment_tree_of_an_operation_that_does_not_commute(numbers, data):
  tree = SegmentTree([str(number) + ' ' for number in numbers], lambda a, b: a + b, '')
  for _ in range(5):
    index = data.draw(st.integers(0, len(numbers) - 1))
    numbers[index] = data.draw(st.integers(0, 9))
    tree.set(index, f'{numbers[index]} ')
    left, right = data.draw(ranges(len(numbers)))
    assert tree.query(left, right).split() == [str(number) for number in numbers[left:right]]


@settings(max_examples=30)
@given(NUMBERS, st.data())
def test_lazy_segment_tree(numbers, data):
  tree = LazySegmentTree(numbers)
  for _ in range(8):
    left, right = data.draw(ranges(len(numbers)))
    value, assign = data.draw(st.integers(-9, 9)), data.draw(st.booleans())
    (tree.assign if assign else tree.add)(left, right, value)
    numbers[left:right] = [value if assign else number + value for number in numbers[left:right]]
    left, right = data.draw(ranges(len(numbers)))
    part = numbers[left:right]
    assert tree.query(left, right) == (sum(part), min(part), max(part))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.data())
def test_fenwick_tree(numbers, data):
  tree = Fenwick(numbers)
  index = data.draw(st.integers(0, len(numbers) - 1))
  tree.add(index, 3)
  numbers[index] += 3
  sums = [0, *itertools.accumulate(numbers)]
  assert [tree.prefix(count) for count in range(len(sums))] == sums
  total = data.draw(st.integers(0, sums[-1] + 2))
  assert tree.find(total) == max(count for count, each in enumerate(sums) if each <= total)


@given(NUMBERS)
def test_sparse_table(numbers):
  table = SparseTable(numbers)
  for left, right in itertools.combinations(range(len(numbers) + 1), 2):
    assert table.minimum(left, right) == min(numbers[left:right])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.data())
def test_mo(values, data):
  queries = data.draw(st.lists(ranges(len(values)), max_size=10))
  assert distinct_in_ranges(values, queries) == [len(set(values[left:right])) for left, right in queries]


@given(TEXT)
def test_z_prefix_and_suffixes(text):
  agree = lambda a, b: next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
  assert strings.z_function(text) == [agree(text, text[i:]) if i else 0 for i in range(len(text))]
  borders = [max(k for k in range(i) if text[:k] == text[i - k : i]) for i in range(1, len(text) + 1)]
  assert strings.prefix_function(text) == borders
  order = strings.suffix_array(text)
  assert order == sorted(range(len(text)), key=lambda i: text[i:])
  assert strings.common_prefixes(text, order) == [agree(text[a:], text[b:]) for a, b in itertools.pairwise(order)]


@given(st.text('ab', min_size=1, max_size=4), TEXT)
def test_finding_a_pattern(pattern, text):
  assert strings.find_all(pattern, text) == [i for i in range(len(text)) if text.startswith(pattern, i)]


@given(TEXT)
def test_hashes_of_substrings_tell_them_apart(text):
  hashes = strings.SubstringHash(text, random.Random(7).randrange(256, strings.MODULUS))
  found = {}
  for left, right in itertools.combinations_with_replacement(range(len(text) + 1), 2):
    assert found.setdefault(text[left:right], hashes.get(left, right)) == hashes.get(left, right)
  by_length = {(len(part), value) for part, value in found.items()}
  assert len(by_length) == len(found)


@given(st.lists(st.text('ab', min_size=1, max_size=3), min_size=1, max_size=5), TEXT)
def test_aho_corasick(words, text):
  expected = [(i, n) for i in range(len(text)) for n, word in enumerate(words) if text.startswith(word, i)]
  assert sorted(AhoCorasick(words).find(text)) == sorted(expected)


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=14))
def test_convex_hull_is_scipys(points):
  hull = convex_hull(points)
  square = lambda a, b: (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
  assert squared_diameter(points) == max(square(a, b) for a in points for b in points)
  try:
    expected = ConvexHull(np.array(points, float))
  except (QhullError, ValueError):  # fewer than three points, or all on a line
    assert len(hull) <= 2 or doubled_area(hull) == 0
    return
  assert doubled_area(hull) / 2 == pytest.approx(expected.volume)
  assert set(hull) <= set(points)
  assert len(hull) == len(expected.vertices)


@settings(max_examples=30)
@given(st.lists(st.integers(0, ntt.MODULUS - 1), min_size=1, max_size=30), st.lists(st.integers(0, 99), min_size=1))
def test_ntt_multiplies(a, b):
  product = [0] * (len(a) + len(b) - 1)
  for i, x in enumerate(a):
    for j, y in enumerate(b):
      product[i + j] = (product[i + j] + x * y) % ntt.MODULUS
  assert ntt.multiply(a, b) == product


def test_linear_sieve():
  primes, least = number_theory.linear_sieve(2000)
  assert primes == [n for n in range(2, 2001) if all(n % d for d in range(2, math.isqrt(n) + 1))]
  assert all(least[n] == min(d for d in range(2, n + 1) if n % d == 0) for n in range(2, 500))


def test_binomials():
  binomials = number_theory.Binomials(60, 1_000_000_007)
  for n, k in itertools.product(range(61), range(-1, 62)):
    assert binomials.choose(n, k) == (math.comb(n, k) % 1_000_000_007 if k >= 0 else 0)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=4))
def test_chinese_remainder(pairs):
  remainders, moduli = [r % m for r, m in pairs], [m for _, m in pairs]
  whole = math.lcm(*moduli)
  fitting = [x for x in range(whole) if all(x % m == r for r, m in zip(remainders, moduli, strict=True))]
  found = number_theory.chinese_remainder(remainders, moduli)
  assert found == ((fitting[0], whole) if fitting else None)


@given(st.integers(0, 5000) | st.integers(0, 2**63))
def test_primes_and_factors(number):
  factors = number_theory.factorize(number)
  assert math.prod(factors) == number or number == 0
  assert all(map(number_theory.is_prime, factors))
  if number < 5000:
    assert number_theory.is_prime(number) == (number > 1 and all(number % d for d in range(2, number)))


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-50, 50)), max_size=12))
def test_lowest_line(lines):
  hull = dp_optimizations.LiChao(-20, 20)
  for m, b in lines:
    hull.add(m, b)
  for x in range(-20, 21):
    assert hull.minimum(x) == min((m * x + b for m, b in lines), default=math.inf)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 5))
def test_best_partition(weights, parts):
  cost = lambda i, j: sum(weights[i:j]) ** 2
  count = len(weights)
  cuts = itertools.combinations(range(1, count), parts - 1) if parts <= count else ()
  expected = min((sum(cost(a, b) for a, b in itertools.pairwise((0, *each, count))) for each in cuts), default=math.inf)
  assert dp_optimizations.partition_cost(count, parts, cost) == expected


@settings(max_examples=30)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=7))
def test_merging_piles(weights):
  def least(piles):
    if len(piles) == 1:
      return 0
    merged = lambda i: (*piles[:i], piles[i] + piles[i + 1], *piles[i + 2 :])
    return min(piles[i] + piles[i + 1] + least(merged(i)) for i in range(len(piles) - 1))

  assert dp_optimizations.merge_cost(weights) == least(tuple(weights))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.data())
def test_exactly_so_many_items(gains, data):
  wanted = data.draw(st.integers(0, len(gains)))
  ordered = sorted(gains, reverse=True)

  def solve(penalty):
    taken = [gain for gain in ordered if gain > penalty]
    return sum(taken) - penalty * len(taken), len(taken)

  assert dp_optimizations.best_with_exactly(solve, wanted, 100) == sum(ordered[:wanted])


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30)), max_size=60))
def test_sorted_list(steps):
  mine, right = SortedList(), []
  for kind, value in steps:
    if kind < 2:
      mine.add(value)
      right = sorted([*right, value])
    elif kind == 2 and value in right:
      mine.remove(value)
      right.remove(value)
    elif right:
      assert mine.pop(value % len(right)) == right.pop(value % len(right))
    assert list(mine) == right == [mine[i] for i in range(len(mine))]
    assert (value in mine) == (value in right)
    assert mine.bisect_left(value) == sum(each < value for each in right)
    assert mine.bisect_right(value) == sum(each <= value for each in right)
    assert list(mine.iterate(value)) == [each for each in right if each >= value]


def test_sorted_list_of_many_blocks():
  rng = random.Random(5)
  values = [rng.randrange(10**6) for _ in range(20_000)]
  mine = SortedList(values[:5_000])
  for value in values[5_000:]:
    mine.add(value)
  for value in values[::2]:
    mine.remove(value)
  right = sorted(values[1::2])
  assert list(mine) == right
  assert [mine[i] for i in range(0, len(right), 97)] == right[::97]
  with pytest.raises(ValueError, match='not in the list'):
    mine.remove(-1)
  with pytest.raises(IndexError):
    mine[len(right)]
