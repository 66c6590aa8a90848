"""Segment trees: of any associative operation, and with lazy range updates. O(log n) an operation."""

from collections.abc import Callable, Sequence


class SegmentTree[Value]:
  """Values under an associative operation, in order: combine(left, right) need not commute."""

  def __init__(self, values: Sequence[Value], combine: Callable[[Value, Value], Value], identity: Value):
    self.size, self.combine, self.identity = len(values), combine, identity
    self.tree = [identity] * self.size + list(values)
    for node in range(self.size - 1, 0, -1):
      self.tree[node] = combine(self.tree[2 * node], self.tree[2 * node + 1])

  def set(self, index: int, value: Value) -> None:
    node = index + self.size
    self.tree[node] = value
    while node > 1:
      node //= 2
      self.tree[node] = self.combine(self.tree[2 * node], self.tree[2 * node + 1])

  def query(self, left: int, right: int) -> Value:
    """Of the values left to right - 1."""
    before = after = self.identity
    left, right = left + self.size, right + self.size
    while left < right:
      if left % 2:
        before = self.combine(before, self.tree[left])
        left += 1
      if right % 2:
        right -= 1
        after = self.combine(self.tree[right], after)
      left, right = left // 2, right // 2
    return self.combine(before, after)


class LazySegmentTree:
  """Numbers with range add, range assign, and range sum, minimum and maximum."""

  def __init__(self, values: Sequence[int]):
    self.count = len(values)
    self.size = 1 << max(0, self.count - 1).bit_length()
    nodes = 2 * self.size
    self.total, self.low, self.high = [0] * nodes, [0] * nodes, [0] * nodes
    self.add_tag, self.set_tag = [0] * nodes, [None] * nodes  # type: list[int], list[int | None]
    for index in range(self.size):
      value = values[index] if index < self.count else 0
      self.total[index + self.size] = self.low[index + self.size] = self.high[index + self.size] = value
    for node in range(self.size - 1, 0, -1):
      self._pull(node)

  def add(self, left: int, right: int, value: int) -> None:
    """Adds to the numbers left to right - 1."""
    self._update(1, 0, self.size, left, right, value, assign=False)

  def assign(self, left: int, right: int, value: int) -> None:
    self._update(1, 0, self.size, left, right, value, assign=True)

  def query(self, left: int, right: int) -> tuple[int, int, int]:
    """(sum, minimum, maximum) of the numbers left to right - 1, of which there is at least one."""
    return self._query(1, 0, self.size, left, right)

  def _pull(self, node: int) -> None:
    left, right = 2 * node, 2 * node + 1
    self.total[node] = self.total[left] + self.total[right]
    self.low[node] = min(self.low[left], self.low[right])
    self.high[node] = max(self.high[left], self.high[right])

  def _apply(self, node: int, width: int, value: int, *, assign: bool) -> None:
    if assign:
      self.total[node], self.low[node], self.high[node] = value * width, value, value
      self.set_tag[node], self.add_tag[node] = value, 0
    else:
      self.total[node] += value * width
      self.low[node] += value
      self.high[node] += value
      self.add_tag[node] += value

  def _push(self, node: int, width: int) -> None:
    for child in (2 * node, 2 * node + 1):
      assigned = self.set_tag[node]
      if assigned is not None:
        self._apply(child, width // 2, assigned, assign=True)
      if self.add_tag[node]:
        self._apply(child, width // 2, self.add_tag[node], assign=False)
    self.set_tag[node], self.add_tag[node] = None, 0

  def _update(self, node: int, low: int, high: int, left: int, right: int, value: int, *, assign: bool) -> None:
    if right <= low or high <= left:
      return None
    if left <= low and high <= right:
      return self._apply(node, high - low, value, assign=assign)
    self._push(node, high - low)
    middle = (low + high) // 2
    self._update(2 * node, low, middle, left, right, value, assign=assign)
    self._update(2 * node + 1, middle, high, left, right, value, assign=assign)
    return self._pull(node)

  def _query(self, node: int, low: int, high: int, left: int, right: int) -> tuple[int, int, int]:
    if left <= low and high <= right:
      return self.total[node], self.low[node], self.high[node]
    self._push(node, high - low)
    middle = (low + high) // 2
    if right <= middle:
      return self._query(2 * node, low, middle, left, right)
    if left >= middle:
      return self._query(2 * node + 1, middle, high, left, right)
    mine = self._query(2 * node, low, middle, left, right)
    other = self._query(2 * node + 1, middle, high, left, right)
    return mine[0] + other[0], min(mine[1], other[1]), max(mine[2], other[2])
