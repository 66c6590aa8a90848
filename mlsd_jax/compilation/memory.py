"""Which arrays fill a device's memory at its fullest: a reckoning over the schedule of a compiled program.

XLA says how many bytes of temporaries a program needs, not which. Here its instructions are gone through in the order
in which they run, each array held from where it is made to its last use; instructions that hand on what they are given
(tuples, bitcasts, loops, updates in place) hold nothing of their own. The compiler shares memory among arrays a little
better than that, so sums differ by some per cent; `Peak.bytes` beside memory_analysis() says how far.
"""

import dataclasses

from mlsd_jax.compilation.hlo import Instruction, Module

_ALIASES = {'bitcast', 'get-tuple-element', 'tuple', 'while', 'optimization-barrier', 'copy-done', 'add-dependency'}
_NO_MEMORY = {'parameter', 'constant', 'after-all', 'partition-id', 'replica-id', 'iota'}
_IN_PLACE = {'dynamic-update-slice', 'scatter'}

type Value = tuple[frozenset[str], ...]  # by element of a tuple, the instructions whose memory it is


@dataclasses.dataclass(frozen=True)
class Held:
  """An array that is held at the peak."""

  bytes: int
  instruction: Instruction
  source: str


@dataclasses.dataclass(frozen=True)
class Peak:
  """The fullest moment: the sum of what is held, and that, largest first."""

  bytes: int
  held: tuple[Held, ...]


def find_peak(module: Module) -> Peak:
  """The peak of temporaries of a program: neither arguments nor results that are written over arguments."""
  held = _peak_of(module, module.entry, is_entry=True, seen=())
  ordered = tuple(sorted(held, key=lambda each: -each.bytes))
  return Peak(sum(each.bytes for each in ordered), ordered)


def _peak_of(module: Module, name: str, *, is_entry: bool, seen: tuple[str, ...]) -> list[Held]:
  instructions = module.computations.get(name, [])
  by_name = {each.name: each for each in instructions}
  values: dict[str, Value] = {}
  last_use: dict[str, int] = {}
  for place, each in enumerate(instructions):
    values[each.name] = _value(module, each, values)
    for operand in each.operands:
      for owner in frozenset().union(*values.get(operand, ())):
        last_use[owner] = place
  kept_out: set[str] = set()
  root = next((each for each in reversed(instructions) if each.is_root), None)
  if root is not None:
    for number, owners in enumerate(values[root.name]):
      if is_entry and number in module.aliased_outputs:
        kept_out |= owners  # written over an argument
      for owner in owners:
        last_use[owner] = len(instructions)
    if not is_entry:
      kept_out |= frozenset().union(*values[root.name])  # a loop writes them over what it was handed
  ends: dict[int, list[str]] = {}
  live: dict[str, int] = {}
  total, best, peak = 0, -1, list[Held]()
  for place, each in enumerate(instructions):
    is_own = any(each.name in part for part in values[each.name])
    if is_own and each.name not in kept_out and each.bytes:
      live[each.name] = each.bytes
      total += each.bytes
      ends.setdefault(last_use.get(each.name, place), []).append(each.name)
    inside = _inside(module, each, seen)
    within = sum(held.bytes for held in inside)
    if total + within > best:
      best = total + within
      peak = [Held(size, by_name[owner], module.source(by_name[owner])) for owner, size in live.items()] + inside
    for owner in ends.pop(place, []):
      total -= live.pop(owner)
  return peak


def _inside(module: Module, instruction: Instruction, seen: tuple[str, ...]) -> list[Held]:
  """What is held within a loop, a branch or a call while it runs."""
  if instruction.opcode not in ('while', 'conditional', 'call', 'async-start'):
    return []
  peaks = [
    _peak_of(module, called, is_entry=False, seen=(*seen, called))
    for called in instruction.called
    if called in module.computations and called not in seen
  ]
  return max(peaks, key=lambda held: sum(each.bytes for each in held), default=[])


def _value(module: Module, each: Instruction, values: dict[str, Value]) -> Value:
  nothing: Value = tuple(frozenset[str]() for _ in each.shapes) or (frozenset(),)
  if each.opcode in _NO_MEMORY:
    return nothing
  operands = [values.get(operand, (frozenset(),)) for operand in each.operands]
  if each.opcode == 'tuple':
    return tuple(frozenset().union(*operand) for operand in operands)
  if each.opcode == 'get-tuple-element':
    number = each.attributes.partition('index=')[2].partition(',')[0]
    return (operands[0][int(number)] if int(number) < len(operands[0]) else frozenset(),)
  if each.opcode == 'while':
    return operands[0]
  if each.opcode in _ALIASES or each.opcode.endswith('-done'):
    return tuple(frozenset().union(*operands[0]) for _ in each.shapes)
  if _updates_in_place(module, each):
    for operand, value in zip(each.operands, operands, strict=True):
      del operand
      owners = frozenset().union(*value)
      if owners:
        return tuple(owners for _ in each.shapes)
    return nothing
  return tuple(frozenset({each.name}) for _ in each.shapes) or (frozenset({each.name}),)


def _updates_in_place(module: Module, each: Instruction) -> bool:
  """Whether its result lies where its first operand did."""
  if each.opcode in _IN_PLACE:
    return True
  if each.opcode != 'fusion' or each.is_tuple:
    return False
  inside = module.computations.get(each.called[0], []) if each.called else []
  root = next((instruction for instruction in reversed(inside) if instruction.is_root), None)
  return root is not None and root.opcode in _IN_PLACE
