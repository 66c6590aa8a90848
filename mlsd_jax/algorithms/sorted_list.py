"""A sorted list that is quick to change anywhere, for the structures that need order and rank at once."""

import bisect
from collections.abc import Iterable, Iterator
from typing import Any

_BLOCK = 512


class SortedList:
  """Values in order, equal ones included.

  Blocks of at most 1,024 values and a Fenwick tree over their lengths: adding, removing and finding by rank take
  O(log n) steps and a move of at most 1,024 pointers; the tree is built anew when a block is split, once in 512 adds.
  """

  def __init__(self, values: Iterable[Any] = ()):
    ordered = sorted(values)
    self._blocks = [ordered[i : i + _BLOCK] for i in range(0, len(ordered), _BLOCK)]
    self._build()

  def _build(self) -> None:
    self._highest = [block[-1] for block in self._blocks]
    self._tree = [0, *map(len, self._blocks)]
    self._count = sum(self._tree)
    for i in range(1, len(self._tree)):
      parent = i + (i & -i)
      if parent < len(self._tree):
        self._tree[parent] += self._tree[i]

  def _change(self, block: int, by: int) -> None:
    self._count += by
    tree, block = self._tree, block + 1
    while block < len(tree):
      tree[block] += by
      block += block & -block

  def _before(self, block: int) -> int:
    total = 0
    while block:
      total += self._tree[block]
      block &= block - 1
    return total

  def add(self, value: Any) -> None:
    if not self._blocks:
      self._blocks.append([value])
      return self._build()
    index = bisect.bisect_right(self._highest, value)
    if index == len(self._blocks):
      index -= 1
    block = self._blocks[index]
    bisect.insort(block, value)
    if len(block) > 2 * _BLOCK:
      self._blocks[index : index + 1] = [block[:_BLOCK], block[_BLOCK:]]
      return self._build()
    self._highest[index] = block[-1]
    return self._change(index, 1)

  def remove(self, value: Any) -> None:
    """Takes one such value out.

    Raises:
      ValueError: there is none.
    """
    index = bisect.bisect_left(self._highest, value)
    if index < len(self._blocks):
      block = self._blocks[index]
      position = bisect.bisect_left(block, value)
      if block[position] == value:
        return self._delete(index, position)
    raise ValueError(f'{value!r} is not in the list')

  def _delete(self, index: int, position: int) -> None:
    block = self._blocks[index]
    del block[position]
    if block:
      self._highest[index] = block[-1]
      return self._change(index, -1)
    del self._blocks[index]
    return self._build()

  def pop(self, rank: int) -> Any:
    """Takes out and returns the value of this rank."""
    index, position = self._find(rank)
    value = self._blocks[index][position]
    self._delete(index, position)
    return value

  def _find(self, rank: int) -> tuple[int, int]:
    if rank < 0:
      rank += self._count
    if not 0 <= rank < self._count:
      raise IndexError(f'rank {rank} of {self._count} values')
    tree, block = self._tree, 0
    step = 1 << (len(tree) - 1).bit_length()
    while step:
      following = block + step
      if following < len(tree) and tree[following] <= rank:
        block, rank = following, rank - tree[following]
      step >>= 1
    return block, rank

  def __getitem__(self, rank: int) -> Any:
    index, position = self._find(rank)
    return self._blocks[index][position]

  def bisect_left(self, value: Any) -> int:
    """How many values are smaller."""
    index = bisect.bisect_left(self._highest, value)
    if index == len(self._blocks):
      return self._count
    return self._before(index) + bisect.bisect_left(self._blocks[index], value)

  def bisect_right(self, value: Any) -> int:
    """How many values are smaller or equal."""
    index = bisect.bisect_right(self._highest, value)
    if index == len(self._blocks):
      return self._count
    return self._before(index) + bisect.bisect_right(self._blocks[index], value)

  def iterate(self, low: Any) -> Iterator[Any]:
    """The values from `low` on, in order."""
    index = bisect.bisect_left(self._highest, low)
    if index < len(self._blocks):
      block = self._blocks[index]
      yield from block[bisect.bisect_left(block, low) :]
      for block in self._blocks[index + 1 :]:
        yield from block

  def __iter__(self) -> Iterator[Any]:
    for block in self._blocks:
      yield from block

  def __len__(self) -> int:
    return self._count

  def __contains__(self, value: Any) -> bool:
    index = bisect.bisect_left(self._highest, value)
    if index == len(self._blocks):
      return False
    block = self._blocks[index]
    return block[bisect.bisect_left(block, value)] == value
