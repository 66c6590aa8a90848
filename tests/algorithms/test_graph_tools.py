"""The toolkit's graphs against SciPy's, and against trying everything."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csgraph, csr_matrix

from mlsd_jax.algorithms.contests.matching import assignment, bipartite_matching
from mlsd_jax.algorithms.contests.max_flow import MaxFlow
from mlsd_jax.algorithms.contests.min_cost_flow import MinCostFlow
from mlsd_jax.algorithms.contests.rollback_dsu import RollbackDSU, dynamic_components
from mlsd_jax.algorithms.contests.shortest_paths import bellman_ford, dijkstra, floyd_warshall, path, zero_one
from mlsd_jax.algorithms.contests.strong_components import TwoSat, strong_components
from mlsd_jax.algorithms.contests.trees import HeavyLight, LowestCommonAncestor


@st.composite
def graphs(draw, most=7, low=1, high=9):
  """(nodes, matrix of edge lengths, infinite where there is no edge)."""
  count = draw(st.integers(1, most))
  cell = st.one_of(st.just(math.inf), st.integers(low, high))
  matrix = [[draw(cell) if a != b else math.inf for b in range(count)] for a in range(count)]
  return count, matrix


def adjacency(matrix):
  return [[(b, length) for b, length in enumerate(row) if length < math.inf] for row in matrix]


def sparse(matrix):
  return csgraph.csgraph_from_dense(np.array(matrix, float), null_value=np.inf)


@st.composite
def trees(draw):
  parents = draw(st.lists(st.integers(0, 10**6), max_size=14))
  graph = [[] for _ in range(len(parents) + 1)]
  for node, number in enumerate(parents, 1):
    graph[node].append(number % node)
    graph[number % node].append(node)
  return graph


@settings(max_examples=40)
@given(graphs())
def test_shortest_paths_are_scipys(case):
  count, matrix = case
  graph = adjacency(matrix)
  expected = csgraph.shortest_path(sparse(matrix))
  assert floyd_warshall(graph) == expected.tolist()
  for source in range(count):
    distance, before = dijkstra(graph, source)
    assert distance == expected[source].tolist() == bellman_ford(graph, source)
    for target in range(count):
      if distance[target] < math.inf:
        nodes = path(before, target)
        assert nodes[0] == source
        assert sum(matrix[a][b] for a, b in itertools.pairwise(nodes)) == distance[target]


@settings(max_examples=40)
@given(graphs(low=0, high=1))
def test_zero_one_search_is_dijkstra(case):
  graph = adjacency(case[1])
  assert zero_one(graph, 0) == dijkstra(graph, 0)[0]


@settings(max_examples=40)
@given(graphs(most=5, low=-4, high=4))
def test_bellman_ford_knows_negative_cycles(case):
  count, matrix = case
  walks = [[0 if a == b else math.inf for b in range(count)] for a in range(count)]
  shortest = [walks[0]]
  for _ in range(6 * count):  # walks of growing length: what still falls late falls without end
    last = shortest[-1]
    shortest.append([min([last[b], *(last[a] + matrix[a][b] for a in range(count))]) for b in range(count)])
  late = [a > b for a, b in zip(shortest[count], shortest[-1], strict=True)]
  expected = [-math.inf if falls else value for value, falls in zip(shortest[count], late, strict=True)]
  assert bellman_ford(adjacency(matrix), 0) == expected


@settings(max_examples=40)
@given(graphs())
def test_strong_components_are_scipys(case):
  count, matrix = case
  graph = [[b for b, _ in edges] for edges in adjacency(matrix)]
  found, component = strong_components(graph)
  expected, labels = csgraph.connected_components(sparse(matrix), connection='strong')
  assert found == expected
  assert len(set(zip(component, labels.tolist(), strict=True))) == expected
  assert all(component[a] >= component[b] for a in range(count) for b in graph[a])


def test_a_path_of_twenty_thousand_nodes_is_no_recursion():
  count = 20_000
  assert strong_components([[node + 1] if node + 1 < count else [] for node in range(count)])[0] == count
  line = [[other for other in (node - 1, node + 1) if 0 <= other < count] for node in range(count)]
  assert LowestCommonAncestor(line).find(count - 1, count // 2) == count // 2
  assert sum(last - first for first, last in HeavyLight(line).ranges(3, count - 1)) == count - 3


@settings(max_examples=40)
@given(st.integers(1, 4), st.data())
def test_two_sat_against_every_assignment(variables, data):
  literal = st.integers(0, variables - 1).flatmap(lambda x: st.sampled_from((x, ~x)))
  clauses = data.draw(st.lists(st.tuples(literal, literal), max_size=10))
  holds = lambda values, each: values[each] if each >= 0 else not values[~each]
  fits = lambda values: all(holds(values, a) or holds(values, b) for a, b in clauses)
  sat = TwoSat(variables)
  for a, b in clauses:
    sat.add(a, b)
  solution = sat.solve()
  if solution is None:
    assert not any(fits(values) for values in itertools.product((False, True), repeat=variables))
  else:
    assert fits(solution)


@settings(max_examples=40)
@given(graphs(most=6))
def test_max_flow_is_scipys_and_equals_its_cut(case):
  count, matrix = case
  if count < 2:
    return
  network = MaxFlow(count)
  numbers = {(a, b): network.add(a, b, length) for a, edges in enumerate(adjacency(matrix)) for b, length in edges}
  total = network.flow(0, count - 1)
  dense = np.array([[0 if value == math.inf else value for value in row] for row in matrix], dtype=np.int32)
  assert total == csgraph.maximum_flow(csr_matrix(dense), 0, count - 1).flow_value
  side = network.cut(0)
  assert total == sum(matrix[a][b] for a, b in numbers if side[a] and not side[b])
  assert all(0 <= network.flow_on(number) <= matrix[a][b] for (a, b), number in numbers.items())


@settings(max_examples=40)
@given(graphs(most=5), st.integers(0, 6))
def test_min_cost_flow_against_the_linear_program(case, limit):
  from scipy.optimize import linprog

  count, matrix = case
  if count < 2:
    return
  edges = [(a, b, length, (a * 7 + b * 3) % 5) for a, row in enumerate(adjacency(matrix)) for b, length in row]
  network = MinCostFlow(count)
  for a, b, capacity, cost in edges:
    network.add(a, b, capacity, cost)
  flow, cost = network.flow(0, count - 1, limit)
  greatest = MaxFlow(count)
  for a, b, capacity, _ in edges:
    greatest.add(a, b, capacity)
  assert flow == min(limit, greatest.flow(0, count - 1))
  if not edges:
    assert cost == 0
    return
  balance = np.zeros((count, len(edges)))
  for i, (a, b, _, _) in enumerate(edges):
    balance[a, i] += 1
    balance[b, i] -= 1
  needed = [flow if node == 0 else -flow if node == count - 1 else 0 for node in range(count)]
  best = linprog([edge[3] for edge in edges], A_eq=balance, b_eq=needed, bounds=[(0, edge[2]) for edge in edges])
  assert cost == pytest.approx(best.fun)


@settings(max_examples=40)
@given(st.integers(1, 7), st.integers(1, 7), st.data())
def test_bipartite_matching_is_scipys(left, right, data):
  edges = [sorted(data.draw(st.sets(st.integers(0, right - 1)))) for _ in range(left)]
  mate = bipartite_matching(edges, right)
  pairs = [(a, b) for a, b in enumerate(mate) if b >= 0]
  assert all(b in edges[a] for a, b in pairs)
  assert len({b for _, b in pairs}) == len(pairs)
  dense = csr_matrix([[int(b in each) for b in range(right)] for each in edges])
  assert len(pairs) == np.sum(csgraph.maximum_bipartite_matching(dense, perm_type='column') >= 0)


@settings(max_examples=40)
@given(st.integers(1, 6), st.integers(0, 2), st.data())
def test_assignment_is_scipys(rows, more, data):
  columns = rows + more
  cost = [[data.draw(st.integers(-20, 20)) for _ in range(columns)] for _ in range(rows)]
  total, chosen = assignment(cost)
  assert len(set(chosen)) == rows
  assert total == sum(cost[i][j] for i, j in enumerate(chosen))
  assert total == np.array(cost)[linear_sum_assignment(cost)].sum()


@settings(max_examples=40)
@given(st.integers(1, 6), st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5)), max_size=20))
def test_disjoint_sets_go_back(count, steps):
  dsu, kept = RollbackDSU(count), []
  labels = list(range(count))
  for join, a, b in steps:
    if join or not kept:
      a, b = a % count, b % count
      kept.append(list(labels))
      assert dsu.union(a, b) == (labels[a] != labels[b])
      labels = [labels[a] if label == labels[b] else label for label in labels]
    else:
      dsu.undo()
      labels = kept.pop()
    assert dsu.sets == len(set(labels))
    assert all((dsu.find(x) == dsu.find(y)) == (labels[x] == labels[y]) for x in range(count) for y in range(count))


@settings(max_examples=40)
@given(st.integers(1, 5), st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 4)), max_size=25))
def test_components_of_a_graph_that_changes(count, steps):
  events, edges, expected = [], [], []
  for kind, a, b in steps:
    edge = (min(a, b) % count, max(a, b) % count)
    edge = (min(edge), max(edge))
    if kind == 0:
      edges.append(edge)
      events.append(('add', *edge))
    elif kind == 1 and edge in edges:
      edges.remove(edge)
      events.append(('remove', *edge))
    else:
      dense = np.zeros((count, count))
      for x, y in edges:
        dense[x, y] = 1
      expected.append(csgraph.connected_components(csr_matrix(dense), directed=False)[0])
      events.append(('count', 0, 0))
  assert dynamic_components(count, events) == expected


@settings(max_examples=40)
@given(trees(), st.data())
def test_ancestors_and_paths_of_a_tree(graph, data):
  count = len(graph)
  root = data.draw(st.integers(0, count - 1))
  parent = {root: None}
  for node in (queue := [root]):
    for other in graph[node]:
      if other not in parent:
        parent[other] = node
        queue.append(other)

  def above(node):
    return [node, *above(parent[node])] if node is not None else []

  lca, heavy = LowestCommonAncestor(graph, root), HeavyLight(graph, root)
  assert sorted(heavy.place) == list(range(count))
  for a, b in itertools.product(range(count), repeat=2):
    common = next(node for node in above(a) if node in above(b))
    nodes = {*above(a), *above(b)} - set(above(common)) | {common}
    assert lca.find(a, b) == common
    assert lca.distance(a, b) == len(nodes) - 1
    ranges = list(heavy.ranges(a, b))
    covered = [place for first, last in ranges for place in range(first, last)]
    assert sorted(covered) == sorted(heavy.place[node] for node in nodes)
    assert len(ranges) <= 2 * count.bit_length()
  for node in range(count):
    below = {other for other in range(count) if node in above(other)}
    assert {heavy.place[other] for other in below} == set(
      range(heavy.place[node], heavy.place[node] + heavy.size[node])
    )
