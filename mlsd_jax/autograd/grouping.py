"""Planning: which scalars of a graph make one array operation, and where its operands come from."""

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from mlsd_jax.autograd.engine import Value, operands, topological
from mlsd_jax.autograd.rules import ADD, NEG, POWER, SUB, UNARY

SUM = -1  # the operation of a flattened sum
INPUTS, CONSTANTS = 0, 1  # groups that are there before the first operation
SEEDS, ZERO = -1, -2  # arrays of contributions beside those of the operations
_LONG_SUM = 8  # terms; shorter ones keep the interpreter's order of additions


class Graph:
  """A graph of Values as lists by node number, operands before their users.

  Attributes:
    codes, left, right: operation and operand numbers; -1 for no operand. For a power `exponents` has the exponent.
    data: the numbers that were recorded.
    varies: whether a node depends on the inputs.
    inputs, outputs: node numbers.
  """

  def __init__(self, outputs: Sequence[Value], inputs: Sequence[Value]):
    nodes = topological(*outputs)
    self.num_nodes = len(nodes)
    number = {node: i for i, node in enumerate(nodes)}
    for node in inputs:  # those that no output depends on
      if node not in number:
        number[node] = len(nodes)
        nodes.append(node)
    cut = set(inputs)
    self.codes, self.left, self.right = [], [], []
    self.exponents: list[float] = []
    self.varies: list[bool] = []
    for node in nodes:
      pair = () if node in cut else operands(node)
      left, right = (*(number[each] for each in pair), -1, -1)[:2]
      self.left.append(left)
      self.right.append(right)
      self.codes.append(node._code if pair else 0)
      self.exponents.append(float(node._right) if pair and node._code == POWER else 0.0)
      self.varies.append(node in cut or any(self.varies[i] for i in (left, right) if i >= 0))
    self.data = [node.data for node in nodes]
    self.inputs = [number[node] for node in inputs]
    self.outputs = [number[node] for node in outputs]


@dataclasses.dataclass(frozen=True)
class Gather:
  """Elements of the concatenation of some arrays: by the index array of that name, or where None from `start` on."""

  sources: tuple[int, ...]
  shape: tuple[int, ...]
  index: str | None
  start: int = 0


@dataclasses.dataclass(frozen=True)
class Collect:
  """How the contributions to the cotangents of a group of `size` nodes are summed: a gather for each number of
  contributions, then the order in which these stand."""

  size: int
  parts: tuple[Gather, ...]
  order: str | None


@dataclasses.dataclass
class Group:
  """Nodes that are one array operation.

  Attributes:
    operands: where they come from; for SUM a single one of shape (nodes, terms).
    signs: name of the array of signs of the terms of a SUM, if not all are plus.
  """

  code: int
  exponent: float
  operands: tuple[Gather, ...]
  signs: str | None
  collect: Collect


@dataclasses.dataclass
class Plan:
  groups: list[Group]
  constants: str
  outputs: Gather
  collect: Collect  # of the inputs
  arrays: dict[str, np.ndarray]


def plan(graph: Graph, most_groups: int) -> Plan | None:
  """Groups the nodes of a graph; None where that would take more than `most_groups` groups."""
  sums = _long_sums(graph)
  members = _members(graph, sums)
  if len(members) > most_groups:
    return None
  where = np.zeros((len(graph.codes), 2), np.int64)  # group and position of each node
  for position, node in enumerate(graph.inputs):
    where[node] = INPUTS, position
  constants = [node for node, varies in enumerate(graph.varies) if not varies]
  where[constants, 0], where[constants, 1] = CONSTANTS, np.arange(len(constants))
  for number, nodes in enumerate(members.values()):
    where[nodes, 0], where[nodes, 1] = number + 2, np.arange(len(nodes))
  sizes = [len(graph.inputs), max(len(constants), 1), *map(len, members.values())]

  builder = _Builder(where, sizes)
  builder.contribute(SEEDS, np.array(graph.outputs), np.arange(len(graph.outputs)))
  sizes_of = {SEEDS: len(graph.outputs), ZERO: 1}
  groups = []
  for number, ((_, code, exponent, _), nodes) in enumerate(members.items()):
    sizes_of[2 * number] = sizes_of[2 * number + 1] = len(nodes)
    signs = None
    if code == SUM:
      terms = np.array([[node for node, _ in sums[each]] for each in nodes])
      sign = np.array([[sign for _, sign in sums[each]] for each in nodes], float)
      if (sign < 0).any():
        signs = builder.add(sign)
      gathers = [builder.gather(terms)]
      rows = np.broadcast_to(np.arange(len(nodes))[:, None], terms.shape)
      for side, chosen in enumerate((sign > 0, sign < 0)):
        builder.contribute(2 * number + side, terms[chosen], rows[chosen])
    else:
      sides = [graph.left] if code in UNARY else [graph.left, graph.right]
      chosen_nodes = [np.array([side[node] for node in nodes]) for side in sides]
      gathers = [builder.gather(each) for each in chosen_nodes]
      for side, each in enumerate(chosen_nodes):
        builder.contribute(2 * number + side, each, np.arange(len(nodes)))
    groups.append(Group(code, exponent, tuple(gathers), signs, Collect(0, (), None)))
  for number, group in enumerate(groups):
    group.collect = builder.collect(number + 2, sizes_of)
  data = np.array([graph.data[node] for node in constants] or [0.0])
  return Plan(
    groups=groups,
    constants=builder.add(data),
    outputs=builder.gather(np.array(graph.outputs)),
    collect=builder.collect(INPUTS, sizes_of),
    arrays=builder.arrays,
  )


def _long_sums(graph: Graph) -> dict[int, list[tuple[int, int]]]:
  """(term, sign) of each long sum; what a sum has swallowed maps to an empty list."""
  is_sum = [varies and code in (ADD, SUB, NEG) for code, varies in zip(graph.codes, graph.varies, strict=True)]
  users = [0] * len(is_sum)
  swallowed = [False] * len(is_sum)
  for node, varies in enumerate(graph.varies):
    for operand in (graph.left[node], graph.right[node]) if varies else ():
      if operand >= 0:
        users[operand] += 1
        swallowed[operand] = is_sum[node] and is_sum[operand]
  for node in graph.outputs:
    users[node] += 2  # must be computed whatever else uses it
  swallowed = [each and count == 1 for each, count in zip(swallowed, users, strict=True)]
  terms = [1] * len(is_sum)
  sums: dict[int, list[tuple[int, int]]] = {}
  for node in range(len(is_sum)):
    if is_sum[node]:
      pair = [each for each in (graph.left[node], graph.right[node]) if each >= 0]
      terms[node] = sum(terms[each] if swallowed[each] else 1 for each in pair)
  for root in range(len(is_sum) - 1, -1, -1):
    if is_sum[root] and not swallowed[root] and terms[root] >= _LONG_SUM:
      found: list[tuple[int, int]] = []
      stack = [(root, 1)]
      while stack:
        node, sign = stack.pop()
        if node == root or swallowed[node]:
          if node != root:
            sums[node] = []
          code = graph.codes[node]
          if code != NEG:
            stack.append((graph.right[node], -sign if code == SUB else sign))
          stack.append((graph.left[node], -sign if code == NEG else sign))
        else:
          found.append((node, sign))
      sums[root] = found
  return sums


def _members(graph: Graph, sums: dict[int, list[tuple[int, int]]]) -> dict[tuple, list[int]]:
  """(depth, operation, exponent, kind) -> nodes, by depth. A group's operands are all constant or none is."""
  depth = [0] * len(graph.codes)
  inputs = set(graph.inputs)
  members: dict[tuple, list[int]] = {}
  for node in range(len(graph.codes)):
    terms = sums.get(node)
    if not graph.varies[node] or node in inputs or terms == []:
      continue
    left, right = graph.left[node], graph.right[node]
    below: Iterable[int] = [each for each in (left, right) if each >= 0] if terms is None else [t for t, _ in terms]
    depth[node] = 1 + max(depth[each] for each in below)
    if terms is not None:
      key = (depth[node], SUM, 0.0, len(terms))
    else:
      kind = 2 * graph.varies[left] + (right >= 0 and graph.varies[right])
      key = (depth[node], graph.codes[node], graph.exponents[node], kind)
    members.setdefault(key, []).append(node)
  return dict(sorted(members.items(), key=lambda item: item[0][0]))


class _Builder:
  """Names arrays and turns node numbers into gathers."""

  def __init__(self, where: np.ndarray, sizes: Sequence[int]):
    self.arrays: dict[str, np.ndarray] = {}
    self._where, self._sizes = where, sizes
    self._contributions: dict[int, list[tuple[np.ndarray, int, np.ndarray]]] = {}

  def add(self, array: np.ndarray) -> str:
    name = f'a{len(self.arrays)}'
    self.arrays[name] = array
    return name

  def gather(self, nodes: np.ndarray) -> Gather:
    groups, positions = self._where[nodes, 0], self._where[nodes, 1]
    return self._from(groups, positions, {group: self._sizes[group] for group in np.unique(groups).tolist()})

  def _from(self, sources: np.ndarray, positions: np.ndarray, sizes: dict[int, int]) -> Gather:
    """Elements (sources[i], positions[i]) of arrays whose sizes are given."""
    used = np.unique(sources)
    starts = np.concatenate([[0], np.cumsum([sizes[each] for each in used.tolist()])])
    index = starts[np.searchsorted(used, sources)] + positions
    flat = index.ravel()
    names = tuple(used.tolist())
    if (flat == np.arange(flat[0], flat[0] + flat.size)).all():
      return Gather(names, index.shape, None, int(flat[0]))
    return Gather(names, index.shape, self.add(index.astype(np.int32)))

  def contribute(self, source: int, nodes: np.ndarray, positions: np.ndarray) -> None:
    """Element positions[i] of `source` is to be added to the cotangent of nodes[i]."""
    groups, places = self._where[nodes, 0], self._where[nodes, 1]
    for group in np.unique(groups).tolist():
      if group != CONSTANTS:
        chosen = groups == group
        self._contributions.setdefault(group, []).append((places[chosen], source, positions[chosen]))

  def collect(self, group: int, sizes: dict[int, int]) -> Collect:
    size = self._sizes[group]
    entries = self._contributions.get(group)
    if not entries or not size:
      return Collect(size, (), None)
    places = np.concatenate([place for place, _, _ in entries])
    sources = np.concatenate([np.full(len(place), source) for place, source, _ in entries])
    positions = np.concatenate([position for _, _, position in entries])
    by_place = np.argsort(places, kind='stable')
    counts = np.bincount(places, minlength=size)
    starts = np.cumsum(counts) - counts
    # Nodes with about equally many contributions share a gather; the shorter rows end in zeros.
    classes = np.ceil(np.log2(np.maximum(counts, 1))).astype(int)
    if size * counts.max() <= 2 * len(places) + 64:
      classes[:] = 0
    parts, standing = [], []
    for each in np.unique(classes):
      nodes = np.flatnonzero(classes == each)
      width = max(int(counts[nodes].max()), 1)
      columns = np.arange(width)
      real = columns < counts[nodes][:, None]
      entry = by_place[np.where(real, starts[nodes][:, None] + columns, 0)]
      chosen_sources, chosen_positions = np.where(real, sources[entry], ZERO), np.where(real, positions[entry], 0)
      if width == 1:
        chosen_sources, chosen_positions = chosen_sources[:, 0], chosen_positions[:, 0]
      parts.append(self._from(chosen_sources, chosen_positions, sizes))
      standing.append(nodes)
    order = None if len(parts) == 1 else self.add(np.argsort(np.concatenate(standing)).astype(np.int32))
    return Collect(size, tuple(parts), order)
